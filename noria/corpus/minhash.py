"""MinHash signatures in bands: which texts are probably similar, without comparing all pairs.

In: a text. Out: its shingles, and a hash for each band of its signature; texts of one band hash are
candidates (Broder 1997; bands: Leskovec et al., Mining of Massive Datasets, 3.4).
This module does not decide what is a duplicate.
"""

from __future__ import annotations

from typing import final

import numpy as np
import numpy.typing as npt

from noria.corpus.shingles import Hashes, WordHasher, mix, ngrams

SHINGLE_WORDS = 5
NUM_BANDS = 25  # 25 bands of 5 rows find a pair of similarity 0.8 with probability 0.99995,
ROWS_PER_BAND = 5  # of 0.5 with 0.55: few exact comparisons are wasted

BLOCK_SHINGLES = 256  # that are hashed at a time: 256 kB, in the processor's cache
_MOST = np.uint64(2**64 - 1)


@final
class MinHasher:
    """Shingles and band hashes of texts; remembers words, as a corpus repeats them."""

    def __init__(self) -> None:
        self._words = WordHasher()
        numbers = mix(np.arange(1, 2 * NUM_BANDS * ROWS_PER_BAND + 1, dtype=np.uint64))
        # Odd factors and offsets (rows, 1) of multiply-shift hashing (Dietzfelbinger et al. 1997).
        factors, self._offsets = numbers.reshape(2, -1, 1)
        self._factors = factors | np.uint64(1)
        self._room = np.empty((NUM_BANDS * ROWS_PER_BAND, BLOCK_SHINGLES), np.uint64)

    def words(self, text: str) -> Hashes:
        """The hashes of a text's words (Chinese: characters)."""
        return self._words.words(text)

    def bands(self, words: Hashes) -> Hashes:
        """(bands,): a hash for each band of the signature; zeros for a text without words."""
        return self.bands_of(_runs(words))  # one that comes twice has the same hash twice

    def bands_of(self, shingles: Hashes) -> Hashes:
        """The same of a text's shingles, in any order."""
        if not len(shingles):
            return np.zeros(NUM_BANDS, np.uint64)
        least = np.full(NUM_BANDS * ROWS_PER_BAND, _MOST, np.uint64)
        for first in range(0, len(shingles), BLOCK_SHINGLES):
            block = shingles[first : first + BLOCK_SHINGLES]
            hashed = np.multiply(block, self._factors, out=self._room[:, : len(block)])
            hashed += self._offsets
            np.minimum(least, hashed.min(1), out=least)
        signature: Hashes = least >> np.uint64(32)  # the same as of the shifted ones
        rows = signature.reshape(NUM_BANDS, ROWS_PER_BAND)
        total = rows[:, 0].copy()
        for row in range(1, ROWS_PER_BAND):
            total = mix(total) + rows[:, row]
        return np.maximum(total, np.uint64(1))  # 0 says that there are no words


def shingles(words: Hashes) -> Hashes:
    """Sorted distinct runs of 5 words; fewer words are one run."""
    return np.unique(_runs(words))


def _runs(words: Hashes) -> Hashes:
    return ngrams(words, min(SHINGLE_WORDS, max(1, len(words))))


def shared_buckets(bands: npt.NDArray[np.uint64]) -> npt.NDArray[np.int32]:
    """(texts, bands): the bucket that a text shares with another in a band, -1 where it has none.

    Two texts in one bucket are probably similar; a text without words shares none. Buckets are
    numbered without gaps, but for that of texts without words.
    """
    buckets = np.full(bands.shape, -1, np.int32)
    first = 0
    for band in range(bands.shape[1]):
        column = bands[:, band]
        _, inverse, counts = np.unique(column, return_inverse=True, return_counts=True)
        shared = (counts[inverse] > 1) & (column > 0)
        numbers = np.cumsum(counts > 1) - 1 + first
        buckets[shared, band] = numbers[inverse[shared]]
        first = int(numbers[-1]) + 1 if len(numbers) else first
    return buckets


def jaccard(a: Hashes, b: Hashes) -> float:
    """Share of the shingles of both that are in each."""
    num_shared = len(np.intersect1d(a, b, assume_unique=True))
    return num_shared / (len(a) + len(b) - num_shared)
