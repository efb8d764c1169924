"""Words to the pieces of a BERT vocabulary, with the one piece that speaks for each word.

In: the words of a text, in order. Out: ids and places; and windows of words whose ids a model can
read. Where the vocabulary has small letters alone, a mark stands before a word with capitals, two
before a word of nothing else: names are known by them. This module does not know tags.
Legend: T ids, W words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from noria.tokenizer.bert import UNKNOWN, BertTokenizer

CAPITAL = "^"  # a word by itself for every such vocabulary
MAX_WORD_PIECES = 12  # an address may have hundreds, of which the first tell what it is
MARGIN_PIECES = 24  # beside each word that a window decides, as far as the text goes
MAX_KNOWN = 1 << 16  # words whose pieces are remembered

Ids = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class WordRow:
    """The ids of words (T,), and which of them speaks for each word (W,)."""

    ids: Ids
    places: Ids


@dataclass(frozen=True, slots=True)
class WordWindow:
    """Words [first, last) are read, and of them [kept_first, kept_last) decided."""

    first: int
    last: int
    kept_first: int
    kept_last: int


@final
class WordReader:
    """Turns words into ids; room: how many ids a window has for them, without BERT's marks."""

    def __init__(self, tokenizer: BertTokenizer, room: int) -> None:
        self._tokenizer = tokenizer
        self._room = room
        self._longest = max(1, min(MAX_WORD_PIECES, room // 2))
        small, large = tokenizer.encode_batch(["a", "A"])
        self._loses_capitals = small == large
        self._known: dict[str, tuple[list[int], int]] = {}

    def rows(self, words: Sequence[str], margin: int) -> Iterator[tuple[WordWindow, WordRow]]:
        """The windows that together decide every word once, and what stands in each.

        margin: ids beside the words that are decided, where there is text.
        """
        pieces = self._pieces(words)
        for window in _windows([len(ids) for ids, _ in pieces], self._room, margin):
            read = pieces[window.first : window.last]
            starts = np.cumsum([0, *(len(ids) for ids, _ in read)])[:-1]
            ids = np.array([one for ids, _ in read for one in ids], dtype=np.int64)
            yield window, WordRow(ids, starts + np.array([place for _, place in read]))

    def _pieces(self, words: Sequence[str]) -> list[tuple[list[int], int]]:
        """The ids of each word, and the place of the one that speaks for it."""
        new = [word for word in dict.fromkeys(words) if word not in self._known]
        if len(self._known) + len(new) > MAX_KNOWN:
            self._known, new = {}, list(dict.fromkeys(words))
        shown = [capital_marks(word) for word in new] if self._loses_capitals else [""] * len(new)
        found = self._tokenizer.encode_batch(
            [f"{mark} {word}" for mark, word in zip(shown, new, strict=True)]
        )
        for word, mark, ids in zip(new, shown, found, strict=True):
            if len(ids) <= len(mark):  # nothing of the word itself is known, not even its letters
                ids = [*ids, self._tokenizer.marks[UNKNOWN]]
            kept = ids[: self._longest]
            self._known[word] = kept, min(len(mark), len(kept) - 1)
        return [self._known[word] for word in words]


def capital_marks(word: str) -> str:
    """Nothing before small letters, a mark before a word with capitals, two where all are."""
    if word == word.lower():
        return ""
    return CAPITAL * (2 if len(word) > 1 and word.isupper() else 1)


def marked_text(words: Sequence[str]) -> str:
    """Words with marks for capitals as running text: what such a vocabulary is learned from."""
    return " ".join(f"{capital_marks(word)} {word}".lstrip() for word in words)


def _windows(sizes: Sequence[int], room: int, margin: int) -> Iterator[WordWindow]:
    """Windows over words of so many ids each, none of more than half the room."""
    margin = min(margin, room // 4)
    ends = np.cumsum(sizes)
    starts = ends - sizes
    kept = 0
    while kept < len(sizes):
        first = int(np.searchsorted(starts, starts[kept] - margin))
        last = int(np.searchsorted(ends, starts[first] + room, side="right"))
        decided = last
        if last < len(sizes):
            decided = int(np.searchsorted(ends, ends[last - 1] - margin, side="right"))
        yield WordWindow(first, last, kept, max(kept + 1, decided))
        kept = max(kept + 1, decided)
