"""Tokens stand where they say, whatever the text; spans go to tags and back."""

from __future__ import annotations

import itertools
import math
import time
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixed_texts import mixed_texts

from noria.errors import UsageError
from noria.evaluate.spans import bio_spans
from noria.records import Span
from noria.tasks.bio import (
    best_tags,
    joined_log_probabilities,
    may_follow,
    spans_of,
    tags_of,
)
from noria.tasks.words import Token, passages, tokens_of, words_of

INVISIBLE = ("Zs", "Zl", "Zp", "Cc", "Cf")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Obama's visit, 3.5km", ["Obama", "'", "s", "visit", ",", "3", ".", "5km"]),
        ("我在New York吃了2碗面。", [*"我在", "New", "York", *"吃了2碗面。"]),
        ("ＡＢ１２，（全角）", ["ＡＢ１２", "，", "（", "全", "角", "）"]),
        ("cafe\u0301 au lait", ["cafe\u0301", "au", "lait"]),
        ("hi 👩‍👩‍👧‍👦👍🏽❤️🇨🇳🇩🇪!", ["hi", "👩‍👩‍👧‍👦", "👍🏽", "❤️", "🇨🇳", "🇩🇪", "!"]),
        ("@ann_b #Köln", ["@", "ann_b", "#", "Köln"]),
        ("(https://t.co/?b=1). a.b@c.org,", ["(", "https://t.co/?b=1", ")", ".", "a.b@c.org", ","]),
        ("看http://t.cn/x1啊", ["看", "http://t.cn/x1", "啊"]),
        ("カタカナ 서울에서 नमस्ते", ["カ", "タ", "カ", "ナ", "서울에서", "नमस्ते"]),
        ("a\u200bb\ufeff\x00 \u3000\r\n", ["a", "b"]),
        ("\u0301x", ["\u0301", "x"]),
        ("", []),
        (" \n\t", []),
    ],
)  # fmt: skip
def test_words_are_cut_where_a_name_can_begin_or_end(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def check_tokens(text: str) -> None:
    tokens = tokens_of(text)
    end = 0
    for token in tokens:
        assert text[token.start : token.end] == token.text != ""
        assert token.start >= end
        between = text[end : token.start]
        assert all(one.isspace() or unicodedata.category(one) in INVISIBLE for one in between)
        end = token.end
    assert all(one.isspace() or unicodedata.category(one) in INVISIBLE for one in text[end:])


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_nothing_but_white_space_stands_between_tokens(text: str) -> None:
    check_tokens(text)


def test_tokens_of_many_scripts_stand_where_they_say() -> None:
    for text in mixed_texts(300, seed=3):
        check_tokens(text)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10_000), st.data())
def test_spans_of_whole_tokens_come_back_to_the_character(seed: int, data: st.DataObject) -> None:
    (text,) = mixed_texts(1, seed)
    tokens = tokens_of(text)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(tokens)), max_size=6)))
    spans = tuple(
        Span(tokens[first].start, tokens[last - 1].end, data.draw(st.sampled_from("xy")))
        for first, last in itertools.pairwise(cuts)
    )
    found = tags_of(tokens, spans)
    assert (found.num_moved, found.num_lost) == (0, 0)
    assert spans_of(tokens, found.tags) == spans


def test_a_span_that_cuts_a_word_gets_all_of_it_and_is_counted() -> None:
    text = "in NewYork, 北京 市"
    tokens = tokens_of(text)
    found = tags_of(tokens, [Span(3, 6, "LOC"), Span(11, 16, "LOC")])  # "New", " 北京 市"
    assert spans_of(tokens, found.tags) == (Span(3, 10, "LOC"), Span(12, 16, "LOC"))
    assert (found.num_moved, found.num_lost) == (2, 0)


def test_of_spans_that_overlap_the_longest_is_kept() -> None:
    text = "University of New York"
    tokens = tokens_of(text)
    spans = [Span(14, 22, "LOC"), Span(0, 22, "ORG"), Span(10, 11, "LOC")]
    found = tags_of(tokens, spans)
    assert found.tags == ("B-ORG", "I-ORG", "I-ORG", "I-ORG")
    assert found.num_lost == 2
    assert tags_of([], spans).num_lost == 3


@pytest.mark.parametrize("span", [Span(2, 2, "x"), Span(-1, 2, "x"), Span(0, 1, "")])
def test_a_span_that_is_none_is_refused(span: Span) -> None:
    with pytest.raises(UsageError, match="a span"):
        tags_of(tokens_of("a b"), [span])


def test_tags_that_are_not_bio_are_refused() -> None:
    tokens = tokens_of("a b")
    with pytest.raises(UsageError, match="'LOC'"):
        spans_of(tokens, ["O", "LOC"])
    with pytest.raises(UsageError, match="1 tags of 2 tokens"):
        spans_of(tokens, ["O"])
    with pytest.raises(UsageError, match="'E-x'"):
        best_tags(np.zeros((2, 2)), ["O", "E-x"])


LABELS = ["B-x", "B-y", "I-x", "I-y", "O"]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(0, 4))
def test_best_tags_are_the_best_of_all_that_make_sense(seed: int, num_tokens: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(num_tokens, len(LABELS)))
    tokens = [Token("a", place, place + 1) for place in range(num_tokens)]
    best, best_score = (), -math.inf
    for tags in itertools.product(LABELS, repeat=num_tokens):
        strict = len(bio_spans(tags, strict=True)) == len(bio_spans(tags))
        covered = sum(one.end - one.start for one in bio_spans(tags, strict=True))
        if strict and covered == sum(tag != "O" for tag in tags):  # no I- without its beginning
            score = sum(scores[at, LABELS.index(tag)] for at, tag in enumerate(tags))
            if score > best_score:
                best, best_score = tags, score
    assert best_tags(scores, LABELS) == best
    assert {(one.start, one.end, one.tag) for one in spans_of(tokens, best)} == {
        (one.start, one.end, one.tag) for one in bio_spans(best, strict=True)
    }


def test_no_tag_goes_on_what_did_not_begin() -> None:
    allowed = may_follow(LABELS)
    goes_on = {(old, new) for old, new in zip(*np.nonzero(allowed[:-1, 2:4]), strict=True)}
    assert goes_on == {(0, 0), (2, 0), (1, 1), (3, 1)}  # B-x I-x, I-x I-x, B-y I-y, I-y I-y
    assert not allowed[-1, 2:4].any() and allowed[:, [0, 1, 4]].all()
    with pytest.raises(UsageError, match="no way through"):
        best_tags(np.zeros((1, 1)), ["I-x"])


def test_scorers_together_equal_the_normed_product_of_their_probabilities() -> None:
    random = np.random.default_rng(5)
    parts = [random.dirichlet(np.ones(3), size=4) for _ in range(2)]
    found = np.exp(joined_log_probabilities(parts, [3.0, 1.0]))
    product = parts[0] ** 0.75 * parts[1] ** 0.25
    assert found == pytest.approx(product / product.sum(axis=1, keepdims=True))
    sure, unsure = np.array([[1.0, 0.0]]), np.array([[0.001, 0.999]])
    assert np.isfinite(joined_log_probabilities([sure, unsure], [1, 1])).all()
    assert joined_log_probabilities([np.zeros((0, 3))], [1.0]).shape == (0, 3)
    with pytest.raises(UsageError, match="2 scorers, 1 weights"):
        joined_log_probabilities(parts, [1.0])


def test_passages_hold_every_token_once_and_end_with_lines_and_sentences() -> None:
    text = "One two. Three four five.\n\n" + "六七八九。" * 5 + "\nlast"
    tokens = tokens_of(text)
    cuts = list(passages(text, tokens, 12))
    assert [first for first, _ in cuts] == [0, *(last for _, last in cuts[:-1])]
    assert cuts[-1][1] == len(tokens)
    shown = [text[tokens[first].start : tokens[last - 1].end] for first, last in cuts]
    assert shown == [
        "One two. Three four five.",
        "六七八九。六七八九。",
        "六七八九。六七八九。",
        "六七八九。",
        "last",
    ]
    unbroken = tokens_of("字" * 30)
    assert list(passages("字" * 30, unbroken, 12)) == [(0, 12), (12, 24), (24, 30)]
    assert list(passages("", [])) == []


def test_a_megabyte_is_cut_in_time_that_grows_as_it_does() -> None:
    text = "".join(mixed_texts(1000, seed=6))
    long = (text * (1 + 1_000_000 // len(text.encode())))[:1_000_000]
    times = []
    for part in (long[: len(long) // 8], long):
        started_at = time.perf_counter()
        tokens = tokens_of(part)
        assert sum(last - first for first, last in passages(part, tokens)) == len(tokens)
        times.append(time.perf_counter() - started_at)
    assert times[1] < 30 * times[0]
    assert all(long[one.start : one.end] == one.text for one in tokens[::97])
