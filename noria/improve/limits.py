"""Whether a live version crosses the limits of its recipe. A pure function of counts.

In: what it did of late, and the limits. Out: the limits that are crossed, with the numbers. Shares
are crossed when they surely are: the lower end of their confidence sequence lies above the limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from noria.improve.canary import Arm
from noria.improve.sequential import share_bounds
from noria.recipe import RollbackSettings

ALPHA = 0.05


@dataclass(frozen=True)
class Watched:
    """What a live version did of late; `latency_s` is what 95% of its answers did not exceed."""

    arm: Arm
    latency_s: float
    distance: float


@dataclass(frozen=True)
class Crossed:
    """The limits that are crossed, a sentence each, and all numbers."""

    reasons: tuple[str, ...]
    numbers: dict[str, Any]


def crossed_limits(limits: RollbackSettings, seen: Watched) -> Crossed:
    """Which limits a version crosses."""
    arm, reasons = seen.arm, []
    for what, count, total, limit in (
        ("errors", arm.num_errors, arm.num_requests, limits.errors),
        ("thumbs down", arm.num_down, arm.num_thumbs, limits.thumbs_down),
    ):
        low, _ = share_bounds(count, total, ALPHA)
        if low > limit:
            reasons.append(f"{what}: at least {low:.1%} of {total}, allowed are {limit:.1%}")
    if arm.num_requests >= limits.requests:
        for what, value, limit in (
            ("seconds of an answer", seen.latency_s, limits.latency_s),
            ("distance of inputs", seen.distance, limits.distance),
        ):
            if limit and value > limit:
                reasons.append(f"{what}: {value:.3g}, allowed are {limit:.3g}")
    numbers = {"rule": "limits", "limits": asdict(limits), "seen": asdict(seen)}
    return Crossed(tuple(reasons), numbers)


def crossed_again(numbers: Mapping[str, Any]) -> Crossed:
    """Judge by the numbers of an entry of the trail."""
    seen = dict(numbers["seen"])
    watched = Watched(Arm(**seen.pop("arm")), **seen)
    return crossed_limits(RollbackSettings(**numbers["limits"]), watched)
