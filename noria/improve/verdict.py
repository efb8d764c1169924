"""A gate's verdict as values: what was compared, what it came to, and how it is stored and read.

In: intervals of differences with their limits. Out: the decision that follows from them, and JSON.
What is read back is checked: a decision that its own intervals do not give is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from noria.errors import FormatError
from noria.evaluate.compare import signed
from noria.evaluate.contents import GateRow, GateSection, LimitRow
from noria.evaluate.metrics import Interval

VERDICT_FORMAT = 4
READABLE_FORMATS = (1, 2, 3, 4)
PROMOTE, REFUSE, UNDECIDED = "promote", "refuse", "not enough evidence"


@dataclass(frozen=True)
class Judged:
    """One comparison, challenger minus rival, and whether it passed.

    `bound` is what the interval has to stay below, or above where higher is better;
    `smallest_visible` is the true difference that the set would have shown with 80% power.
    `num_needed`: so many records would probably decide what these did not, if the difference stays
    what it is; None where it is decided, or no number would. `feedback_needed`: so many more pieces
    of feedback bring them, where the records are held-out feedback.
    """

    requirement: str
    metric: str
    rival: str
    difference: Interval
    bound: float
    passed: bool
    smallest_visible: float
    num_records: int
    higher_is_better: bool = False
    num_needed: int | None = None
    feedback_needed: int | None = None

    @property
    def failed(self) -> bool:
        """Whether the opposite is shown."""
        return lies_beyond(self.difference, self.bound, not self.higher_is_better)

    @property
    def leans_to_pass(self) -> bool:
        """Whether what was seen, without its interval, is on the right side."""
        above = self.difference.value > self.bound
        return above if self.higher_is_better else self.difference.value < self.bound


@dataclass(frozen=True)
class Sliced:
    """Challenger minus champion on a part of a set; `regressed`: it is shown to be too bad there.

    Each has an interval of its own `confidence`, so that among many slices none is accused by luck.
    """

    slice: str
    metric: str
    difference: Interval
    bound: float
    regressed: bool
    num_records: int
    confidence: float
    higher_is_better: bool


@dataclass(frozen=True)
class Limited:
    """A cost: the challenger's as a multiple of the champion's, and how much is allowed."""

    what: str
    unit: str
    champion: float
    challenger: float
    most: float

    @property
    def passed(self) -> bool:
        """Whether it stays within the limit."""
        return self.challenger <= self.most * self.champion


@dataclass(frozen=True)
class Verdict:
    """The gate's answer and all that it rests on.

    `requirements` must all pass, no slice may have regressed, no limit be crossed; of `gains`
    (challenger against champion on each metric that earns a promotion) at least one must pass.
    `confidence` is of the two-sided intervals; `spent_alpha` is this read's share of
    `family_alpha`; `evidence` is the SHA-256 of all that was compared; `failed_prompts` are the
    safety prompts whose rules the challenger breaks.
    """

    promote: bool
    requirements: tuple[Judged, ...]
    gains: tuple[Judged, ...]
    reasons: tuple[str, ...]
    confidence: float
    family_alpha: float
    spent_alpha: float
    read_number: int
    seed: int
    num_resamples: int
    evidence: str
    slices: tuple[Sliced, ...] = ()
    limits: tuple[Limited, ...] = ()
    failed_prompts: tuple[str, ...] = ()

    @property
    def decision(self) -> str:
        """PROMOTE, REFUSE or UNDECIDED."""
        return decision_of(self.requirements, self.gains, self.slices, self.limits)

    @property
    def passed_on(self) -> float:
        """What the next read of the set may spend besides its own: what promoted this challenger.

        Of the metrics that share `spent_alpha` only those whose gain was shown pass theirs on.
        """
        shown = sum(one.passed for one in self.gains) / len(self.gains)
        return self.spent_alpha * shown if self.promote else 0.0


def lies_beyond(difference: Interval, bound: float, above: bool) -> bool:
    """Whether the whole interval lies on one side of the bound."""
    return difference.low > bound if above else difference.high < bound


def decision_of(
    requirements: Sequence[Judged],
    gains: Sequence[Judged],
    slices: Sequence[Sliced],
    limits: Sequence[Limited],
) -> str:
    """What follows from the comparisons.

    Refused is what is shown to break a requirement, to be no better anywhere, to have regressed on
    a slice, or to cost too much. What is neither shown to be good nor to be bad is undecided.
    """
    if any(one.regressed for one in slices) or not all(one.passed for one in limits):
        return REFUSE
    if any(one.failed for one in requirements) or all(_no_better(one) for one in gains):
        return REFUSE
    if all(one.passed for one in requirements) and any(one.passed for one in gains):
        return PROMOTE
    return UNDECIDED


def _no_better(one: Judged) -> bool:
    """Whether a gain is shown not to be one: worse, or the same answers throughout."""
    same = one.difference.low == one.difference.high == one.bound
    return not one.passed and (one.failed or same)


def _finite(value: Any) -> Any:
    """The same values with tuples as lists and infinities as null, which JSON can hold."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and math.isinf(value) else value


def verdict_to_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict as plain JSON values (an infinite end as null)."""
    return {
        "format": VERDICT_FORMAT,
        "decision": verdict.decision,
        "passed_on": verdict.passed_on,
        **_finite(asdict(verdict)),
    }


def verdict_from_json(value: Mapping[str, Any]) -> Verdict:
    """Read a stored verdict back, equal to what was stored; of older formats as well.

    Raises FormatError for another format, missing fields, or a decision that does not follow from
    the comparisons stored beside it.
    """
    fields = dict(value)
    try:
        version = fields.pop("format")
        if version not in READABLE_FORMATS:
            raise ValueError("another format")
        said = fields.pop("decision") if version > 1 else None
        passed_on = fields.pop("passed_on") if version > 3 else None
        for name in ("requirements", "gains"):
            fields[name] = tuple(_judged(one) for one in fields[name])
        fields["slices"] = tuple(_sliced(one) for one in fields.get("slices", ()))
        fields["limits"] = tuple(Limited(**one) for one in fields.get("limits", ()))
        fields["reasons"] = tuple(fields["reasons"])
        fields["failed_prompts"] = tuple(fields.get("failed_prompts", ()))
        verdict = Verdict(**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"a stored verdict that can't be read ({error})",
            f"a verdict of format {VERDICT_FORMAT}",
            "run the gate again",
        ) from error
    if not _follows(verdict, said) or passed_on not in (None, verdict.passed_on):
        raise FormatError(
            "a stored verdict that contradicts its own intervals",
            "a promotion that follows from them",
            "the record was changed; run the gate again",
        )
    return verdict


def _follows(verdict: Verdict, said: str | None) -> bool:
    judged = (*verdict.requirements, *verdict.gains)
    return (
        verdict.promote == (verdict.decision == PROMOTE)
        and said in (None, verdict.decision)
        and all(
            one.passed == lies_beyond(one.difference, one.bound, one.higher_is_better)
            for one in judged
        )
        and all(
            one.regressed == lies_beyond(one.difference, one.bound, not one.higher_is_better)
            for one in verdict.slices
        )
    )


def _interval(value: Mapping[str, Any]) -> Interval:
    middle, low, high = (value[name] for name in ("value", "low", "high"))
    return Interval(middle, -math.inf if low is None else low, math.inf if high is None else high)


def _judged(value: Mapping[str, Any]) -> Judged:
    fields = {**value, "difference": _interval(value["difference"])}
    if fields["smallest_visible"] is None:
        fields["smallest_visible"] = math.inf
    return Judged(**fields)


def _sliced(value: Mapping[str, Any]) -> Sliced:
    return Sliced(**{**value, "difference": _interval(value["difference"])})


def gate_section(verdict: Verdict, name: str = "") -> GateSection:
    """The verdict as the report shows it; `name`: of the application, "" of the language model."""
    return GateSection(
        name=name,
        decision=verdict.decision,
        requirements=tuple(_row(one) for one in verdict.requirements),
        gains=tuple(_row(one) for one in verdict.gains),
        regressions=tuple(_slice_row(one) for one in verdict.slices if one.regressed),
        num_slices=len(verdict.slices),
        limits=tuple(
            LimitRow(one.what, one.unit, one.champion, one.challenger, one.most, one.passed)
            for one in verdict.limits
        ),
        reasons=verdict.reasons,
        confidence=verdict.confidence,
        family_alpha=verdict.family_alpha,
        spent_alpha=verdict.spent_alpha,
        read_number=verdict.read_number,
        failed_prompts=verdict.failed_prompts,
    )


def _row(one: Judged) -> GateRow:
    word = "holds" if one.passed else "broken" if one.failed else "not shown"
    return GateRow(
        one.requirement,
        one.difference,
        one.bound,
        word,
        one.smallest_visible,
        one.num_records,
        one.num_needed,
    )


def _slice_row(one: Sliced) -> GateRow:
    return GateRow(
        f"{one.metric} on {one.slice}",
        one.difference,
        one.bound,
        "worse",
        math.inf,
        one.num_records,
        None,
    )


def _for_people(value: float, unit: str) -> str:
    """A cost as a person reads it: seconds as milliseconds, bytes as megabytes."""
    factor, shown = {"s": (1e3, "ms"), "bytes": (1e-6, "MB")}.get(unit, (1.0, unit))
    value *= factor
    return f"{value:,.0f} {shown}" if abs(value) >= 100 else f"{value:.3g} {shown}"


def verdict_lines(verdict: Verdict) -> list[str]:
    """The verdict as a person reads it in a terminal: the decision, then each comparison."""
    lines = [f"{verdict.decision}: {'; '.join(verdict.reasons)}"]
    for one in verdict.requirements:
        word = "holds" if one.passed else "broken" if one.failed else "not shown"
        side = "above" if one.higher_is_better else "below"
        lines.append(
            f"  {one.requirement}: {signed(one.difference.value)} "
            f"({signed(one.difference.low)} to {signed(one.difference.high)}, "
            f"has to stay {side} {signed(one.bound)}): {word}"
        )
    lines += [
        f"  {one.what}: {_for_people(one.challenger, one.unit)}, "
        f"the champion {_for_people(one.champion, one.unit)}, "
        f"at most {one.most:g} times: {'holds' if one.passed else 'broken'}"
        for one in verdict.limits
    ]
    if verdict.failed_prompts:
        lines.append(f"  safety prompts that it fails: {', '.join(verdict.failed_prompts)}")
    num_worse = sum(one.regressed for one in verdict.slices)
    lines.append(f"  {len(verdict.slices)} slices, {num_worse} shown to be worse")
    lines.append(
        f"  read {verdict.read_number} of this frozen set: {verdict.spent_alpha:.2%} of the "
        f"{verdict.family_alpha:.0%} for false promotions"
    )
    return lines
