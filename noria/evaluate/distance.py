"""How far texts are from other texts, without a model: hashed character trigrams.

In: texts. Out: a unit vector of each, the distance of two sets of them, the overlap of two texts.
Sums of vectors are enough for the distance, so a server keeps no text to have it measured.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NUM_BUCKETS = 256
MOST_CHARACTERS = 200  # of a text's beginning: a long one is no other kind of text than a short one

Vector = NDArray[np.float64]


def text_vector(text: str) -> Vector:
    """Shape (256,): hashed counts of a text's character trigrams, of length 1 (0 for no text).

    Hashing keeps inner products in expectation (Weinberger et al. 2009, "Feature Hashing").
    """
    counts = np.zeros(NUM_BUCKETS)
    padded = f" {text[:MOST_CHARACTERS].lower()} "
    for start in range(len(padded) - 2):
        counts[zlib.crc32(padded[start : start + 3].encode("utf-8", "replace")) % NUM_BUCKETS] += 1
    length = float(np.linalg.norm(counts))
    return counts / length if length else counts


def mean_distance(first: Sequence[float], n: int, second: Sequence[float], m: int) -> float:
    """The squared distance of two sets of texts, from 0 (alike) to 2, by the sums of their vectors.

    The unbiased estimate of the squared maximum mean discrepancy with a linear kernel (Gretton et
    al. 2012, JMLR 13, lemma 6); every vector has length 1, so that the terms of a text with itself
    are n and m. Below 0 is 0; with fewer than two texts in a set nothing can be said: 0.
    """
    if n < 2 or m < 2:
        return 0.0
    a, b = np.asarray(first), np.asarray(second)
    within = (a @ a - n) / (n * (n - 1)) + (b @ b - m) / (m * (m - 1))
    return max(0.0, float(within - 2 * (a @ b) / (n * m)))


def overlap(first: str, second: str) -> float:
    """How much two answers share, from 0 to 1: F1 over their character pairs, any language."""
    a, b = (
        Counter(text[i : i + 2] for i in range(max(1, len(text) - 1))) for text in (first, second)
    )
    return 2 * (a & b).total() / (a.total() + b.total())
