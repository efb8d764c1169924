"""Words as pieces: one speaks for each, capitals are marked, windows decide each word once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixed_texts import mixed_texts

from noria.tokenizer.bert import UNKNOWN, BertTokenizer, train_bert_tokenizer
from noria.tokenizer.word_pieces import (
    MAX_KNOWN,
    MAX_WORD_PIECES,
    WordReader,
    capital_marks,
    marked_text,
)

WORDS = [
    "The",
    "keeper",
    "of",
    "NASA",
    "saw",
    "iPhone",
    "lamps",
    "in",
    "Rome",
    "and",
    "the",
    "harbour",
    "at",
    "7pm",
    ";",
    "我",
    "爱",
    "北",
    "京",
]


@pytest.fixture(scope="module")
def tokenizer() -> BertTokenizer:
    return train_bert_tokenizer([marked_text(WORDS)] * 3 + mixed_texts(100, seed=2), 700)


def test_the_first_piece_of_a_word_speaks_for_it_and_marks_stand_before(
    tokenizer: BertTokenizer,
) -> None:
    ((window, row),) = WordReader(tokenizer, 126).rows(WORDS, 0)
    assert (window.first, window.last) == (window.kept_first, window.kept_last) == (0, len(WORDS))
    (mark,) = tokenizer.encode_batch(["^"])[0]
    for place, word in zip(row.places, WORDS, strict=True):
        ids = tokenizer.encode_batch([word])[0]
        assert row.ids[place : place + len(ids)].tolist() == ids
        num_marks = {"The": 1, "NASA": 2, "iPhone": 1, "Rome": 1}.get(word, 0)
        before = row.ids[place - num_marks : place].tolist()
        assert before == [mark] * num_marks == [mark] * len(capital_marks(word))
    assert row.ids.tolist() == tokenizer.encode_batch([marked_text(WORDS)])[0]


def test_a_vocabulary_that_keeps_capitals_gets_no_marks() -> None:
    cased = train_bert_tokenizer([" ".join(WORDS)] * 3, 300, lowercase=False)
    ((_, row),) = WordReader(cased, 126).rows(WORDS, 0)
    assert row.ids.tolist() == cased.encode_batch([" ".join(WORDS)])[0]


def test_a_word_of_nothing_known_and_a_long_one_still_have_a_piece(
    tokenizer: BertTokenizer,
) -> None:
    odd = ["\u0301", "\ud800", "𓀀", "x" * 500, "ab" * 45, "\x00"]
    ((_, row),) = WordReader(tokenizer, 126).rows(odd, 0)
    assert len(row.places) == len(odd)
    assert row.ids[row.places[0]] == tokenizer.marks[UNKNOWN]
    assert np.diff([*row.places, len(row.ids)]).max() <= MAX_WORD_PIECES


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from([*WORDS, "lamplighters", "x" * 90]), max_size=60),
    st.integers(1, 40),
    st.integers(0, 30),
)
def test_windows_decide_every_word_once_and_fit(
    tokenizer: BertTokenizer, words: list[str], room: int, margin: int
) -> None:
    decided = 0
    for window, row in WordReader(tokenizer, room).rows(words, margin):
        assert window.kept_first == decided
        assert window.first <= window.kept_first < window.kept_last <= window.last
        assert len(row.places) == window.last - window.first
        assert len(row.ids) <= room
        decided = window.kept_last
    assert decided == len(words)


def test_words_inside_a_long_text_have_text_on_both_sides(tokenizer: BertTokenizer) -> None:
    words = [*"我爱北京"] * 100
    found = list(WordReader(tokenizer, 62).rows(words, 15))
    assert len(found) > 5
    for window, _ in found:
        assert window.first == 0 or window.kept_first - window.first >= 15
        assert window.last == len(words) or window.last - window.kept_last >= 15


def test_more_words_than_are_remembered_are_read_all_the_same(
    tokenizer: BertTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [row.ids.tolist() for _, row in WordReader(tokenizer, 60).rows(WORDS, 0)]
    assert MAX_KNOWN > 1000
    monkeypatch.setattr("noria.tokenizer.word_pieces.MAX_KNOWN", 5)
    reader = WordReader(tokenizer, 60)
    for _ in range(2):
        for start in range(0, len(WORDS), 3):
            list(reader.rows(WORDS[start : start + 3], 0))
        assert [row.ids.tolist() for _, row in reader.rows(WORDS, 0)] == wanted
