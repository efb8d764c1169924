"""What a text is made of, as weights: its words and its pieces, each by how often and how rare.

In: texts. Out: for each text, which features it has and how much each weighs (a sparse row).
Pieces are characters in a row, for Chinese, where nothing divides words, and for endings and
misspelt words elsewhere. This module does not know what the weights are used for.

A weight is (1 + ln count) (1 + ln((1 + B) / (1 + B_f))), where B_f of B texts have the feature;
words and pieces are each scaled to length 1 (Salton & Buckley 1988; the ones keep a feature that
all texts have, as scikit-learn does). A text that is there several times is one of the B, where
scikit-learn counts copies: rows are repeated to give them weight, and that makes no word common.
Legend: B texts, F features, K of them in one text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray

from noria.corpus.segment import split_words, stop_words

_WORD = re.compile(r"\b\w\w+\b")  # a letter alone is a piece
WORDS_BY = ("spaces", "dictionary", "dictionary without stop words")
_SPACES = re.compile(r"\s\s+")

Row = tuple[NDArray[np.int64], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class TextFeatures:
    """Up to `max_words` words and up to `max_characters` characters in a row, those that count.

    `idf` (F,) belongs to the words, then to the pieces. `words_by`: which words a text has.
    """

    max_words: int
    max_characters: int
    words_by: str
    words: tuple[str, ...]
    pieces: tuple[str, ...]
    idf: NDArray[np.float64]

    @cached_property
    def _places(self) -> tuple[dict[str, int], dict[str, int]]:
        words = {word: place for place, word in enumerate(self.words)}
        pieces = {piece: place for place, piece in enumerate(self.pieces, start=len(words))}
        return words, pieces

    def row(self, text: str) -> tuple[Int64[np.ndarray, " K"], Float64[np.ndarray, " K"]]:
        """The places of a text's features, words first, and their weights."""
        words, pieces = self._places
        parts = (
            self._weighted(_words(text, self.max_words, self.words_by), words),
            self._weighted(_pieces(text, self.max_characters), pieces),
        )
        return np.concatenate([one[0] for one in parts]), np.concatenate([one[1] for one in parts])

    def _weighted(self, found: Iterator[str], places: dict[str, int]) -> Row:
        counts = Counter(places[one] for one in found if one in places)
        at = np.array(sorted(counts), dtype=np.int64)
        weights = (1 + np.log([counts[place] for place in at])) * self.idf[at]
        return at, weights / max(float(np.linalg.norm(weights)), np.finfo(np.float64).tiny)


def learn_text_features(
    texts: Sequence[str], max_words: int, max_characters: int, words_by: str, min_texts: int
) -> TextFeatures:
    """Keep the features that `min_texts` of the texts have, and count how rare they are."""
    distinct = list(dict.fromkeys(texts))
    words, rarity = _frequent(distinct, lambda text: _words(text, max_words, words_by), min_texts)
    pieces, rarity_of_pieces = _frequent(
        distinct, lambda text: _pieces(text, max_characters), min_texts
    )
    idf = np.concatenate([rarity, rarity_of_pieces])
    return TextFeatures(max_words, max_characters, words_by, words, pieces, idf)


def _frequent(
    texts: Sequence[str], features: Callable[[str], Iterator[str]], min_texts: int
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    num_texts: Counter[str] = Counter()
    for text in texts:
        num_texts.update(set(features(text)))
    kept = tuple(sorted(one for one, count in num_texts.items() if count >= min_texts))
    counts = np.array([num_texts[one] for one in kept], dtype=np.float64)
    return kept, 1 + np.log((1 + len(texts)) / (1 + counts))


def _words(text: str, max_words: int, words_by: str) -> Iterator[str]:
    words = _WORD.findall(text.lower()) if words_by == "spaces" else split_words(text)
    if words_by == "dictionary without stop words":
        stops = stop_words()
        words = [word for word in words if word not in stops]
    for size in range(1, max_words + 1):
        for start in range(len(words) - size + 1):
            yield " ".join(words[start : start + size])


def _pieces(text: str, max_characters: int) -> Iterator[str]:
    text = _SPACES.sub(" ", text.lower())
    for size in range(1, max_characters + 1):
        for start in range(len(text) - size + 1):
            yield text[start : start + size]
