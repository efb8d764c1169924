"""Feedback that is unlike everything else: in what the live model thinks of it, or in its words.

In: a number for each example: the live model's loss, or the distance from the original data. Out:
which are far outside.

A loss is compared with those of all feedback, by Iglewicz and Hoaglin's modified z-score (1993):
the distance from the median in median absolute deviations, times 0.6745. Medians are not moved by
what is to be found. Their cut-off of 3.5 is for normal numbers; losses have a longer tail, so here
it is 6, and only large losses count.

A distance has known ones to be compared with, those of the original texts from each other. How many
of these are as large is an outlier's conformal p-value (Bates et al. 2023, section 2), whatever the
shape of the distribution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, final

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from noria.baselines.tfidf import TfidfPlan, feature_matrix, learn_features

MOST_Z = 6.0
LEAST_P = 0.002  # feedback is newer than the original data anyway; this is for what has no like
MIN_LOSSES = 20  # fewer have no median worth the name
LEAST_PROBABILITY = 1e-6
MOST_ORIGINAL = 4_000  # texts that distances are measured to
BLOCK_ROWS = 512

Floats = NDArray[np.float64]


class Distance(Protocol):
    """How far texts are from the original data."""

    @property
    def known(self) -> Floats:
        """The same for original texts, each from the others."""
        ...

    def __call__(self, texts: Sequence[str]) -> Floats:
        """The distance of each text, 0 or more."""
        ...


def modified_z(values: Float64[np.ndarray, " B"]) -> Float64[np.ndarray, " B"]:
    """How far each value lies above the median of all; 0 where nothing can be said.

    Where more than half of the values are the same, the mean absolute deviation takes the median's
    place, as its authors have it.
    """
    if len(values) < MIN_LOSSES:
        return np.zeros(len(values))
    middle = float(np.median(values))
    deviations = np.abs(values - middle)
    scale = float(np.median(deviations)) / 0.6745 or float(deviations.mean()) * 1.253314
    return (values - middle) / scale if scale > 0.0 else np.zeros(len(values))


def conformal_p(
    values: Float64[np.ndarray, " B"], known: Float64[np.ndarray, " K"]
) -> Float64[np.ndarray, " B"]:
    """The share of known numbers as large as each value, itself counted: 1 / (K + 1) at least."""
    below = np.searchsorted(np.sort(known), values, side="left")
    return (1.0 + len(known) - below) / (1.0 + len(known))


def answer_loss(probabilities: Mapping[str, float], labels: Sequence[str]) -> float:
    """-ln of the probability that an answer gives these labels, the mean of them, in nats.

    A label that an answer does not show has no more than what the shown ones leave.
    """
    rest = min(1.0, max(LEAST_PROBABILITY, 1.0 - sum(probabilities.values())))
    found = [max(LEAST_PROBABILITY, probabilities.get(one, rest)) for one in labels]
    return float(-np.mean(np.log(found))) if found else 0.0


@final
class TfidfDistance:
    """How far texts are from the nearest of the original ones: 1 - cosine of TF-IDF rows.

    `known` are the same distances between the original texts themselves, each from the nearest
    other. Raises MissingExtra without scikit-learn, UsageError if the texts have no word in common.
    """

    def __init__(self, original: Sequence[str]) -> None:
        texts = list(dict.fromkeys(original))
        kept = texts[:: max(1, -(-len(texts) // MOST_ORIGINAL))]
        self._features = learn_features(kept, 2, TfidfPlan(max_characters=2))
        self._rows = _unit_rows(feature_matrix(kept, self._features))
        self.known = self._distances(self._rows, itself=True)

    def __call__(self, texts: Sequence[str]) -> Float64[np.ndarray, " B"]:
        """The distance of each text."""
        if not texts:
            return np.zeros(0)
        return self._distances(_unit_rows(feature_matrix(texts, self._features)), itself=False)

    def _distances(self, rows: Any, *, itself: bool) -> Floats:
        found = np.ones(rows.shape[0])
        for start in range(0, rows.shape[0], BLOCK_ROWS):
            block = (rows[start : start + BLOCK_ROWS] @ self._rows.T).toarray()
            if itself:
                places = np.arange(len(block))
                block[places, start + places] = -1.0
            found[start : start + len(block)] = 1.0 - block.max(axis=1)
        return found


def _unit_rows(matrix: Any) -> Any:
    """Rows of words and of pieces have length 1 each: together the square root of 2."""
    return matrix / np.sqrt(2.0)
