"""Exact binomial answers: the interval of a share, and whether two shares of one set differ.

In: counts. Out: an interval or a p-value. Needs the extra `eval` (scipy).
"""

from __future__ import annotations

from typing import Any

from noria.errors import MissingExtra, UsageError
from noria.evaluate.metrics import Interval


def share_interval(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Clopper and Pearson's exact interval (1934) of successes among independent trials.

    Raises UsageError for counts that make no share, MissingExtra without scipy.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise UsageError(f"{successes} of {trials}", "from none to all of at least one")
    found = _stats().binomtest(successes, trials).proportion_ci(confidence, method="exact")
    return Interval(successes / trials, float(found.low), float(found.high))


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided p-value that both models are right equally often (McNemar 1947, exact).

    `only_a` examples were right under a alone, `only_b` under b alone; the others say nothing.
    Raises MissingExtra without scipy.
    """
    if only_a + only_b == 0:
        return 1.0
    return float(_stats().binomtest(only_a, only_a + only_b, 0.5).pvalue)


def _stats() -> Any:
    try:
        import scipy.stats
    except ImportError as error:
        raise MissingExtra("scipy, which knows the binomial distribution,", "eval") from error
    return scipy.stats
