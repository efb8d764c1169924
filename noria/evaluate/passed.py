"""Shares of records that came out as they should: the paired difference of two models in one.

In: for each record yes or no, of two models. Out: an interval, and what could have been seen. The
intervals are those of noria.evaluate.metrics, of a ratio whose every record weighs 1; no extra.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from noria.errors import UsageError
from noria.evaluate.metrics import (
    NUM_RESAMPLES,
    Floats,
    Interval,
    ratio_error,
    ratio_interval,
    student_quantile,
)


@dataclass(frozen=True, eq=False)
class Passed:
    """Which of N records came out as they should: `passed` (N,), under the name of their share.

    `ids` (N,) name the records.
    """

    metric: str
    ids: tuple[str, ...]
    passed: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if not self.ids or self.passed.shape != (len(self.ids),):
            raise UsageError(
                f"{self.passed.shape} answers to {len(self.ids)} records",
                "one for each, and one record at least",
            )

    def taken(self, mask: NDArray[np.bool_]) -> Passed:
        """The same of the records where the mask says so."""
        ids = tuple(one for one, kept in zip(self.ids, mask, strict=True) if kept)
        return replace(self, ids=ids, passed=self.passed[mask])

    @property
    def failed(self) -> tuple[str, ...]:
        """The ids of those that did not."""
        return tuple(one for one, well in zip(self.ids, self.passed, strict=True) if not well)


def share_of(
    one: Passed, confidence: float = 0.95, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> Interval:
    """The share that passed, within 0 and 1."""
    found = ratio_interval(
        one.passed.astype(np.float64), _ones(one), confidence, seed, num_resamples
    )
    return Interval(found.value, max(0.0, found.low), min(1.0, found.high))


def share_difference(
    a: Passed,
    b: Passed,
    confidence: float = 0.95,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> Interval:
    """Share of a minus share of b on the same records, within -1 and 1.

    Raises UsageError if they are not the same records.
    """
    found = ratio_interval(_differences(a, b), _ones(a), confidence, seed, num_resamples)
    return Interval(found.value, max(-1.0, found.low), min(1.0, found.high))


def smallest_visible_share(
    a: Passed, b: Passed, confidence: float = 0.95, power: float = 0.8
) -> float:
    """The true difference of shares that these records would show with that power.

    (t_{1 - alpha/2} + t_{power}) standard errors; Cohen (1988), chapter 2. Infinite for one record.
    """
    freedom = len(a.ids) - 1
    if freedom < 1:
        return float("inf")
    tails = student_quantile((1 + confidence) / 2, freedom) + student_quantile(power, freedom)
    return tails * ratio_error(_differences(a, b), _ones(a))


def _ones(one: Passed) -> NDArray[np.int64]:
    return np.ones(len(one.ids), dtype=np.int64)


def _differences(a: Passed, b: Passed) -> Floats:
    if (a.metric, a.ids) != (b.metric, b.ids):
        raise UsageError(
            f"{a.metric} of {len(a.ids)} records and {b.metric} of {len(b.ids)} others",
            "two models measured on the same records",
            "measure both on one set",
        )
    return a.passed.astype(np.float64) - b.passed.astype(np.float64)
