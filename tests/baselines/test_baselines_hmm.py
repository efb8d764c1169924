"""The tagger against its paper's formulas with dictionaries, and Viterbi against all paths."""

from __future__ import annotations

import math
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noria.baselines.hmm import HmmTagger, load_hmm, train_hmm
from noria.baselines.interface import TokenScorer
from noria.baselines.unknown_words import MAX_ENDING, RARE_COUNT, look
from noria.errors import FormatError, UsageError

Sentences = list[tuple[list[str], list[str]]]
EDGE = "edge"


def slow_transition(sentences: Sentences, order: int, history: tuple[str, ...], tag: str) -> float:
    """Brants 2000, equations 6 to 9 and figure 1; the two deviations are those of the module."""
    counts: Counter[tuple[str, ...]] = Counter()
    for _, tags in sentences:
        line = [EDGE] * order + tags + [EDGE]
        for end in range(order, len(line)):
            for length in range(order + 1):
                counts[tuple(line[end - length : end + 1])] += 1
    seen: Counter[tuple[str, ...]] = Counter()
    for gram, count in counts.items():
        seen[gram[:-1]] += count
    votes = [1] * (order + 1)  # one vote more for each
    for gram, count in counts.items():
        if len(gram) == order + 1:
            shares = []
            for length in range(order + 1):
                end = gram[order - length :]
                others = seen[end[:-1]] - 1
                shares.append((counts[end] - 1) / others if others else 0.0)
            votes[shares.index(max(shares))] += count
    total, estimate = 0.0, 0.0
    for length in range(order + 1):
        end = history[order - length :]
        if seen[end]:  # an unseen history says what its end says
            estimate = counts[(*end, tag)] / seen[end]
        total += votes[length] / sum(votes) * estimate
    return total


def score(model: HmmTagger, tokens: list[str], tags: tuple[int, ...]) -> float:
    edge = len(model.tags)
    line = (edge,) * model.order + tags + (edge,)
    moves = sum(
        model.transitions[line[at - model.order : at + 1]] for at in range(model.order, len(line))
    )
    spoken = model.emission_scores(tokens)
    return float(moves + sum(spoken[at, tag] for at, tag in enumerate(tags)))


def grammar(num: int, seed: int) -> Sentences:
    """The same words are nouns after an article and verbs after a noun; nouns are more frequent."""
    random = np.random.default_rng(seed)
    words = ["saw", "walk", "cook", "drink", "plan", "watch"]
    found = []
    for _ in range(num):
        tokens, tags = [], []
        for _ in range(random.integers(1, 4)):
            tokens += [random.choice(["the", "a"]), random.choice(words)]
            tags += ["D", "N"]
            if random.random() < 0.6:
                tokens.append(random.choice(words))
                tags.append("V")
        found.append(([str(one) for one in tokens], tags))
    return found


def accuracy(model: HmmTagger, sentences: Sentences) -> float:
    pairs = [
        pair for tokens, tags in sentences for pair in zip(model.tag(tokens), tags, strict=True)
    ]
    return sum(found == wanted for found, wanted in pairs) / len(pairs)


@pytest.mark.parametrize("order", [1, 2])
def test_transitions_equal_the_papers_formulas(order: int) -> None:
    sentences = grammar(30, 1)
    model = train_hmm(sentences, order)
    names = [*model.tags, EDGE]
    for places in product(range(len(names)), repeat=order + 1):
        history, tag = tuple(names[one] for one in places[:-1]), names[places[-1]]
        wanted = slow_transition(sentences, order, history, tag)
        assert math.exp(model.transitions[places]) == pytest.approx(wanted, abs=1e-12)
    assert np.exp(model.transitions).sum(axis=-1) == pytest.approx(1.0)


def test_a_known_tokens_score_is_its_share_of_the_tag() -> None:
    model = train_hmm([(["a", "b", "a"], ["X", "X", "Y"]), (["a"], ["X"])])
    scores = np.exp(model.emission_scores(["a", "b"]))
    assert scores[:, :2] == pytest.approx(np.array([[2 / 3, 1.0], [1 / 3, 0.0]]), abs=1e-7)
    assert np.all(scores[:, 2] == 0)  # nothing is said at the edge


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from("abcd"), st.sampled_from("XYZ")), min_size=1, max_size=5
        ),
        min_size=1,
        max_size=6,
    ),
    st.lists(st.sampled_from("abcde"), min_size=1, max_size=5),
    st.sampled_from([1, 2]),
)
def test_viterbis_path_is_the_best_of_all_paths(
    pairs: list[list[tuple[str, str]]], tokens: list[str], order: int
) -> None:
    sentences = [([a for a, _ in one], [b for _, b in one]) for one in pairs]
    model = train_hmm(sentences, order)
    found = tuple(model.tags.index(tag) for tag in model.tag(tokens))
    every = product(range(len(model.tags)), repeat=len(tokens))
    assert score(model, tokens, found) == pytest.approx(
        max(score(model, tokens, tags) for tags in every)
    )
    assert math.isfinite(score(model, tokens, found))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1 << 30), st.lists(st.sampled_from("abcde"), max_size=5))
def test_a_tags_probability_is_its_share_of_all_paths(seed: int, tokens: list[str]) -> None:
    random = np.random.default_rng(seed)
    lines = [random.choice(list("abcd"), size=4).tolist() for _ in range(5)]
    sentences = [(line, random.choice(list("XYZ"), size=4).tolist()) for line in lines]
    for order in (1, 2):
        model = train_hmm(sentences, order)
        paths = list(product(range(len(model.tags)), repeat=len(tokens)))
        shares = np.exp([score(model, tokens, path) for path in paths])
        wanted = np.zeros((len(tokens), len(model.tags)))
        for path, share in zip(paths, shares / shares.sum(), strict=True):
            wanted[np.arange(len(tokens)), list(path)] += share
        assert isinstance(model, TokenScorer)
        assert model.batch_tag_probabilities([tokens])[0] == pytest.approx(wanted, abs=1e-9)


def test_it_beats_the_most_frequent_tag_of_each_word() -> None:
    training, held_out = grammar(200, 2), grammar(100, 3)
    counts = Counter(pair for one in training for pair in zip(*one, strict=True))
    pairs = [pair for one in held_out for pair in zip(*one, strict=True)]
    most_frequent = sum(
        max("DNV", key=lambda tag: counts[token, tag]) == wanted for token, wanted in pairs
    ) / len(pairs)
    assert most_frequent < 0.85
    for order in (1, 2):
        assert accuracy(train_hmm(training, order), held_out) > 0.99


def test_two_tags_back_is_seen_by_the_second_order_alone() -> None:
    tags = ["X", "X", "Y"] * 6
    sentences = [(["w"] * len(tags), tags)] * 5
    assert accuracy(train_hmm(sentences, 2), sentences) == 1.0
    assert accuracy(train_hmm(sentences, 1), sentences) < 0.8


def test_an_unknown_words_score_equals_the_papers_formula() -> None:
    sentences = [
        (["walking", "talking", "king", "Rome"], ["V", "V", "N", "P"]),
        (["the"] * (RARE_COUNT + 1), ["D"] * (RARE_COUNT + 1)),  # too frequent to teach endings
    ]
    model = train_hmm(sentences)
    assert model.tags == ("D", "N", "P", "V")
    overall = np.array([RARE_COUNT + 1, 1, 1, 2]) / (RARE_COUNT + 5)
    theta = np.std(overall, ddof=1)
    estimate = overall
    rare, small = np.array([0, 1, 1, 2]) / 4, np.array([0, 1, 0, 2]) / 3
    # any, small letters, …g, …ng, …ing, …king; "…lking" is the fifth and last letter looked at
    for seen in (rare, small, small, small, small, small, np.array([0, 0, 0, 1.0])):
        estimate = (seen + theta * estimate) / (1 + theta)
    assert MAX_ENDING == 5
    found = model.emission_scores(["sulking"])[0, :4]
    assert found == pytest.approx(np.log(estimate / overall), abs=1e-5)


def test_endings_and_looks_tell_unknown_words_apart() -> None:
    words = {
        "V": ["going", "seeing", "telling", "asking"],
        "P": ["Rome", "Paris", "Berlin", "Athens"],
        "C": ["12", "1999", "3.5", "40"],
        "N": ["house", "river", "table", "garden"],
        "M": [",", ".", "!", ";"],
    }
    model = train_hmm([([word], [tag]) for tag, found in words.items() for word in found] * 2)
    unknown = {"showing": "V", "Oslo": "P", "2024": "C", "?": "M"}
    assert {word: model.tag([word])[0] for word in unknown} == unknown
    assert [look(one) for one in ("北京", "x1", "Élan", "été", "…")] == [
        "caseless", "number", "capital", "small", "mark",
    ]  # fmt: skip


def test_characters_of_chinese_are_tagged_by_what_stands_beside_them() -> None:
    texts = ["我在北京", "他在上海", "我去天津", "你去重庆", "他来南京"]
    model = train_hmm([(list(text), ["O", "O", "B", "I"]) for text in texts])
    assert model.tag("她在广州") == ("O", "O", "B", "I")


def test_a_saved_tagger_is_the_same_when_loaded(tmp_path: Path) -> None:
    sentences = grammar(40, 4)
    for order in (1, 2):
        model = train_hmm(sentences, order)
        model.save(tmp_path)
        loaded = load_hmm(tmp_path)
        assert (loaded.order, loaded.weight_hash) == (order, model.weight_hash)
        assert all(loaded.tag(tokens) == model.tag(tokens) for tokens, _ in sentences)
        assert loaded.tag([]) == ()
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".npy"}
    assert train_hmm(grammar(40, 5)).weight_hash != model.weight_hash


def test_a_damaged_folder_and_sequences_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    train_hmm(grammar(9, 6)).save(tmp_path)
    np.save(tmp_path / "emissions.npy", np.zeros((2, 2), dtype=np.float32))
    with pytest.raises(FormatError, match="other lengths"):
        load_hmm(tmp_path)
    np.save(tmp_path / "emissions.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(FormatError, match="hidden Markov tagger"):
        load_hmm(tmp_path)
    with pytest.raises(FormatError, match=r"hmm\.json"):
        load_hmm(tmp_path / "none")
    with pytest.raises(UsageError, match="2 tokens with 1 tags"):
        train_hmm([(["a", "b"], ["X"])])
    with pytest.raises(UsageError, match="no tagged token"):
        train_hmm([([], [])])
    with pytest.raises(UsageError, match="order 3"):
        train_hmm(grammar(3, 7), 3)
