"""Classifiers of known skill, and how often intervals hold the truth: for the tests and `prove`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import binom

from noria.evaluate.classes import Classified
from noria.evaluate.intervals import measure
from noria.evaluate.sums import Sums

LABELS = ("card", "loan", "branch", "fee")
SHARES = (0.4, 0.3, 0.2, 0.1)


def drawn(seed: int, num: int, skill: float, gold_seed: int | None = None) -> Classified:
    """A classifier that is right with probability `skill`, and else says any class; calibrated."""
    gold = np.random.default_rng(seed if gold_seed is None else gold_seed).choice(
        4, size=num, p=SHARES
    )
    draw = np.random.default_rng([seed, 1])
    said = np.where(draw.random(num) < skill, gold, draw.integers(0, 4, size=num))
    right = skill + (1 - skill) / 4
    probabilities = np.full((num, 4), (1 - right) / 3)
    probabilities[np.arange(num), said] = right
    return Classified(LABELS, gold, probabilities)


def at_its_rate(count: float, trials: int) -> bool:
    """Whether so many of the intervals may be 95% ones: less has a probability below 0.001."""
    return bool(binom.cdf(round(count), trials, 0.95) > 0.001)


def covered(
    make: Callable[[int], Sums], names: tuple[str, ...], truth: dict[str, float], trials: int
) -> dict[str, int]:
    """How often each interval of 95% holds the truth."""
    hits = dict.fromkeys(names, 0)
    for trial in range(trials):
        found = measure([make(trial)], seed=trial, num_resamples=300)
        for name in names:
            # where it is not defined (no such answer) nothing is claimed
            hits[name] += name not in found or found[name].low <= truth[name] <= found[name].high
    return hits
