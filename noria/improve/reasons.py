"""Why a gate decided as it did, a sentence each, for the person who reads the verdict.

In: comparisons that were judged. Out: text. Nothing is decided here.
"""

from __future__ import annotations

from noria.evaluate.compare import signed
from noria.improve.verdict import Judged, Limited, Sliced


def reasons_of(
    requirements: tuple[Judged, ...],
    gains: tuple[Judged, ...],
    slices: tuple[Sliced, ...],
    limits: tuple[Limited, ...],
) -> tuple[str, ...]:
    """Why not, one sentence each; or why, when nothing stands against it."""
    against = [_why_not(one) for one in requirements if not one.passed]
    better = [
        f"{one.metric} is better than the champion's by {abs(one.difference.value):.3f}"
        for one in gains
        if one.passed
    ]
    if not better:
        against.append("no metric is better than the champion's" + _would_decide(gains))
    against += [
        f"{one.metric} is worse on {one.slice}, by {abs(one.difference.value):.3f}"
        for one in slices
        if one.regressed
    ]
    against += [
        f"{one.what} is {one.challenger / one.champion:.2f} times the champion's and may be "
        f"{one.most:g} times"
        for one in limits
        if not one.passed
    ]
    return tuple(against or better)


def _why_not(one: Judged) -> str:
    worst = one.difference.low if one.higher_is_better else one.difference.high
    side = "above" if one.higher_is_better else "below"
    if one.failed:
        ends = f"{signed(one.difference.low)} to {signed(one.difference.high)}"
        return f"{one.requirement}: shown not to hold, the difference is {ends}"
    return (
        f"{one.requirement}: not shown, the difference may be as "
        f"{'low' if one.higher_is_better else 'large'} as {signed(worst)} and has to stay {side} "
        f"{signed(one.bound)}{_would_decide((one,))}"
    )


def _would_decide(open_ones: tuple[Judged, ...]) -> str:
    """How many records would decide the one that needs the fewest; "" where none would."""
    needs = [one for one in open_ones if one.num_needed is not None]
    if not needs:
        return ""
    one = min(needs, key=lambda judged: judged.num_needed or 0)
    more = one.feedback_needed
    heard = f", which takes about {more:,} more pieces of feedback" if more is not None else ""
    return f" (about {one.num_needed:,} records would decide; there are {one.num_records:,}{heard})"
