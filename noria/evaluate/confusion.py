"""Which class is taken for which, and how far stated confidence can be believed.

In: what a classifier made of examples. Out: counts and bins, as a picture and a table need them.
Legend: E examples, N classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from noria.evaluate.classes import NONE, NUM_BINS, Classified, bin_of
from noria.evaluate.exact import share_interval
from noria.evaluate.metrics import Interval

NOTHING = "(none of them)"  # out of scope as gold, abstained as an answer


@dataclass(frozen=True)
class Confused:
    """So many texts of class `gold` were taken for `predicted`; equal where that was right."""

    gold: str
    predicted: str
    count: int


@dataclass(frozen=True)
class Bin:
    """Texts of about the same stated confidence: its mean, and how many of them were right."""

    confidence: float
    right: Interval
    count: int


def confusion(answers: Classified) -> tuple[Confused, ...]:
    """Every pair of classes that occurs, by gold class, then by answer, in the labels' order.

    A list, since a matrix of ten thousand classes has a hundred million cells, nearly all empty.
    """
    names = (*answers.labels, NOTHING)
    pairs = np.stack([answers.gold, answers.predicted], axis=1)
    pairs[pairs == NONE] = len(answers.labels)
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    return tuple(
        Confused(names[gold], names[predicted], int(count))
        for (gold, predicted), count in zip(found, counts, strict=True)
    )


def reliability(answers: Classified, confidence: float = 0.95) -> tuple[Bin, ...]:
    """The bins of a reliability diagram that hold texts, by the likeliest class's probability.

    Texts out of scope are left out. The interval of a bin is Clopper's and Pearson's.
    """
    inside = answers.taken(answers.gold != NONE) if (answers.gold != NONE).any() else None
    if inside is None:
        return ()
    bins = bin_of(inside.confidence)
    right = inside.probabilities.argmax(axis=1) == inside.gold
    found = []
    for index in range(NUM_BINS):
        chosen = bins == index
        if chosen.any():
            share = share_interval(int(right[chosen].sum()), int(chosen.sum()), confidence)
            found.append(Bin(float(inside.confidence[chosen].mean()), share, int(chosen.sum())))
    return tuple(found)
