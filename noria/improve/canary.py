"""What becomes of a canary, by what live and tried version did at the same time.

In: counts of both. Out: wait, withdraw or promote, with the numbers. A pure function: the same in,
the same out, so that an entry of the trail can be judged again.

Withdrawn as soon as it is surely worse, whenever one looks: the lower end of its share of errors
(or of thumbs that point down) is above the upper end of the live version's. Over all looks, both
shares and both versions one that is not worse is withdrawn with probability ALPHA at most. That
counts requests as independent; many of one person are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from noria.improve.sequential import share_bounds

ALPHA = 0.05
_MEASURES = (
    ("errors", "num_errors", "num_requests"),
    ("thumbs down", "num_down", "num_thumbs"),
)


@dataclass(frozen=True)
class Arm:
    """What one version did: requests that failed, and thumbs that pointed down."""

    num_requests: int
    num_errors: int
    num_thumbs: int
    num_down: int


@dataclass(frozen=True)
class Decision:
    """`outcome` is wait, withdraw or promote; `numbers` are all that it rests on."""

    outcome: str
    reason: str
    numbers: dict[str, Any]


def judge_canary(live: Arm, tried: Arm, num_requests: int) -> Decision:
    """Judge a canary that has to answer `num_requests` before it may be promoted."""
    alpha = ALPHA / (2 * len(_MEASURES))  # two ends of each comparison may be wrong
    numbers: dict[str, Any] = {
        "rule": "canary",
        "live": asdict(live),
        "tried": asdict(tried),
        "num_requests": num_requests,
    }
    bounds, worse = {}, []
    for what, count, total in _MEASURES:
        (_, live_high), (low, _) = (
            share_bounds(getattr(arm, count), getattr(arm, total), alpha) for arm in (live, tried)
        )
        bounds[what] = {"tried_low": low, "live_high": live_high}
        if low > live_high:
            worse.append(f"{what}: at least {low:.1%}, the live version's at most {live_high:.1%}")
    numbers["bounds"] = bounds
    if worse:
        return Decision("withdraw", "; ".join(worse), numbers)
    if tried.num_requests < num_requests:
        reason = f"{tried.num_requests} of {num_requests} requests"
        return Decision("wait", reason, numbers)
    return Decision("promote", f"not worse in {tried.num_requests} requests", numbers)


def judge_again(numbers: Mapping[str, Any]) -> Decision:
    """Judge a canary by the numbers of an entry of the trail."""
    live, tried = Arm(**numbers["live"]), Arm(**numbers["tried"])
    return judge_canary(live, tried, numbers["num_requests"])
