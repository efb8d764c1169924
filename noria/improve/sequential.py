"""A share that may be looked at after every request: a confidence sequence of a Bernoulli mean.

In: how many of how many. Out: an interval that holds the true share at all times at once with the
wanted probability, so that stopping when one likes costs nothing. No clock, no model.

For s of n the martingale of the share p against a Beta(1/2, 1/2) mixture is

    M_n(p) = B(s + 1/2, n - s + 1/2) / B(1/2, 1/2) / (p^s (1 - p)^(n - s))

which starts at 1, and by Ville's inequality ever reaches 1 / alpha with probability alpha at most:
the sequence holds all p with M_n(p) < 1 / alpha (Robbins 1970, Ann. Math. Stat. 41; Howard, Ramdas,
McAuliffe and Sekhon 2021, Ann. Stat. 49). It asks that requests are independent of each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable

_STEPS = 40  # of bisection: an error below 1e-12


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def share_bounds(count: int, total: int, alpha: float) -> tuple[float, float]:
    """Both ends of the confidence sequence after `total` requests, `count` of which did it."""
    if not total:
        return 0.0, 1.0
    rest = total - count
    most = _log_beta(count + 0.5, rest + 0.5) - _log_beta(0.5, 0.5) + math.log(alpha)

    def outside(p: float) -> bool:
        return count * math.log(p) + rest * math.log1p(-p) <= most

    peak = count / total
    low = _edge(outside, 0.0, peak) if count else 0.0
    high = _edge(outside, 1.0, peak) if rest else 1.0
    return low, high


def _edge(outside: Callable[[float], bool], far: float, near: float) -> float:
    """Where the sequence ends between a share outside of it and one inside; the outer side."""
    for _ in range(_STEPS):
        middle = (far + near) / 2
        if outside(middle):
            far = middle
        else:
            near = middle
    return far
