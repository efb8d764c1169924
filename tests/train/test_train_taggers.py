"""Encoders that tag: trained on Chinese news with marked names, stored, loaded, asked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tagged_news import tagged_news

from noria.baselines.interface import TokenScorer
from noria.errors import FormatError, UsageError
from noria.evaluate.spans import SpanAnswers, span_sums
from noria.model.weights import load_headed_model, load_model, save_model
from noria.records import Span
from noria.tasks.bio import best_tags, joined_log_probabilities, spans_of, tags_of
from noria.tasks.encoder_tagger import EncoderTagger, load_encoder_tagger
from noria.tasks.words import tokens_of, words_of
from noria.tokenizer.bert import load_bert_tokenizer
from noria.train.lessons import EncoderPlan, LessonSteps, stated_steps
from noria.train.taggers import SCRATCH_TAGS, train_scratch_tagger, tune_tagger

Lists = list[list[str]]
FEW, MANY = LessonSteps(20, "float32", 1), LessonSteps(200, "float32", 1)
PLAN = EncoderPlan(steps=(FEW, MANY), num_layers=2, width=64, vocab_size=3000, window_tokens=48)
LESSON = replace(SCRATCH_TAGS, batch_rows=16, learning_rate=0.005, hidden=0.05)


@pytest.fixture(scope="module")
def news() -> tuple[Lists, Lists]:
    texts = tagged_news(110)
    return (
        [words_of(text) for text, _ in texts],
        [list(tags_of(tokens_of(text), spans).tags) for text, spans in texts],
    )


@pytest.fixture(scope="module")
def folder(news: tuple[Lists, Lists], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tagger from scratch; it has seen 80 of the texts with tags, and all of them without."""
    out = tmp_path_factory.mktemp("scratch")
    words, tags = news
    train_scratch_tagger(words[:80], tags[:80], words[80:], PLAN, out, lesson=LESSON)
    return out


def f1(model: TokenScorer, words: Lists, tags: Lists) -> float:
    pairs = []
    for tokens, wanted in zip(words, tags, strict=True):
        places = tokens_of(" ".join(tokens))
        logs = joined_log_probabilities([model.tag_probabilities(tokens)], [1.0])
        found = best_tags(logs, model.labels)
        pairs.append([frozenset[Span](spans_of(places, one)) for one in (wanted, found)])
    gold, predicted = zip(*pairs, strict=True)
    return span_sums(SpanAnswers(gold, predicted)).value("micro_f1")


def test_a_tagger_from_scratch_learns_the_names_that_it_is_shown(
    folder: Path, news: tuple[Lists, Lists]
) -> None:
    words, tags = news
    model = load_encoder_tagger(folder)
    assert isinstance(model, TokenScorer)
    assert f1(model, words[:80], tags[:80]) > 0.5
    lessons = json.loads((folder / "training.json").read_text(encoding="utf-8"))["lessons"]
    assert stated_steps(folder) == PLAN.steps
    assert lessons[1]["last_loss"] < 0.5 * lessons[1]["first_loss"]


def test_a_batch_answers_as_each_sequence_alone_and_rows_sum_to_one(
    folder: Path, news: tuple[Lists, Lists]
) -> None:
    model = load_encoder_tagger(folder)
    asked = [*news[0][:12], [], ["😀"], ["\ud800", "\u0301"]]
    together = model.batch_tag_probabilities(asked)
    for tokens, found in zip(asked, together, strict=True):
        assert found.shape == (len(tokens), len(model.labels))
        assert found == pytest.approx(model.tag_probabilities(tokens), abs=1e-5)
        assert found.sum(axis=1) == pytest.approx(np.ones(len(tokens)))


def test_a_text_longer_than_the_window_is_tagged_to_its_end(
    folder: Path, news: tuple[Lists, Lists]
) -> None:
    model = load_encoder_tagger(folder)
    tokens = [token for words in news[0][:40] for token in words]
    whole = model.tag_probabilities(tokens)
    assert len(tokens) > 20 * PLAN.window_tokens and whole.sum(axis=1) == pytest.approx(1.0)
    # what stands far away is not read: the same beginning, the same answers
    assert whole[:20] == pytest.approx(model.tag_probabilities(tokens[:400])[:20], abs=1e-5)
    alone = [tag for words in news[0][:40] for tag in best(model, words)]
    agreed = [a == b for a, b in zip(best(model, tokens), alone, strict=True)]
    assert np.mean(agreed) > 0.9


def best(model: EncoderTagger, tokens: list[str]) -> tuple[str, ...]:
    return best_tags(np.log(model.tag_probabilities(tokens)), model.labels)


def test_the_same_plan_gives_the_same_weights(news: tuple[Lists, Lists], tmp_path: Path) -> None:
    plan = replace(PLAN, steps=(replace(FEW, num_steps=3),) * 2)
    hashes = set()
    for name in ("a", "b"):
        train_scratch_tagger(news[0][:64], news[1][:64], [], plan, tmp_path / name, None)
        hashes.add(load_encoder_tagger(tmp_path / name).weight_hash)
    assert len(hashes) == 1


def test_a_base_is_tuned_but_for_its_embedding(
    folder: Path, news: tuple[Lists, Lists], tmp_path: Path
) -> None:
    base, out = tmp_path / "base", tmp_path / "tuned"
    base.mkdir()
    body = load_headed_model(folder).body
    save_model(base, body)
    load_bert_tokenizer(folder).save(base)
    plan = replace(PLAN, base=base, steps=(MANY,))
    shown: list[tuple[str, int, int]] = []
    tune_tagger(
        news[0][:80], news[1][:80], plan, out, lambda *one: shown.append(one), lesson=LESSON
    )
    tuned, before = load_encoder_tagger(out).model.body, load_model(base)
    assert torch.equal(tuned.embedding.weight, before.embedding.weight)
    blocks = dict(before.named_parameters())
    changed = [not torch.equal(one, blocks[name]) for name, one in tuned.named_parameters()]
    assert sum(changed) > len(changed) / 2
    assert f1(load_encoder_tagger(out), news[0][:80], news[1][:80]) > 0.5
    assert shown[-1] == ("tags", 200, 200)


def test_a_saved_tagger_is_the_same_when_loaded(folder: Path, tmp_path: Path) -> None:
    model = load_encoder_tagger(folder)
    model.save(tmp_path)
    loaded = load_encoder_tagger(tmp_path)
    assert loaded.weight_hash == model.weight_hash and loaded.labels == model.labels
    tokens = words_of("江泽民在北京会见 Clinton。")
    assert (loaded.tag_probabilities(tokens) == model.tag_probabilities(tokens)).all()


def test_what_can_not_be_a_tagger_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="other numbers of tags"):
        train_scratch_tagger([["a", "b"]], [["O"]], [], PLAN, tmp_path)
    with pytest.raises(UsageError, match="no tagged word"):
        tune_tagger([[]], [[]], PLAN, tmp_path)
    with pytest.raises(UsageError, match="no base"):
        tune_tagger([["a"]], [["O"]], PLAN, tmp_path)
    load_encoder_tagger(folder).save(tmp_path)
    value = json.loads((tmp_path / "labels.json").read_text(encoding="utf-8"))
    (tmp_path / "labels.json").write_text(json.dumps({**value, "many": True}), encoding="utf-8")
    with pytest.raises(FormatError, match="many tags"):
        load_encoder_tagger(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    config["head"]["kind"] = "sequence"
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(FormatError, match="'sequence'"):
        load_encoder_tagger(tmp_path)
