"""The gate: does a challenger go live? A pure function of likelihoods, settings and past reads.

In: what champion, challenger and control made of the same frozen records, one set a metric.
Out: a verdict with every requirement, its interval and its reason; the same in, the same out.
It reads no file, no clock and no registry, and it does not know what a model is.

False promotions. A frozen set is read many times, and each read is a chance to be lucky. All reads
of a set share one budget of 5%: read k (from 1) may be wrong with probability

    alpha_k = 0.05 * 6 / (pi^2 k^2),        sum over all k = 0.05     (Euler: sum 1/k^2 = pi^2/6)

divided by the number of metrics on which a challenger can earn its promotion (Bonferroni). To be
promoted it has to meet every requirement and be better than the champion on at least one metric.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from noria.errors import FormatError, UsageError
from noria.evaluate.compare import signed
from noria.evaluate.contents import GateRow, GateSection
from noria.evaluate.metrics import (
    NUM_RESAMPLES,
    Interval,
    Likelihoods,
    paired_difference,
    smallest_visible_difference,
)
from noria.recipe import REQUIREMENT_PATTERN, GateSettings

VERDICT_FORMAT = 1
FAMILY_ALPHA = 0.05

Sets = Mapping[str, Likelihoods]


@dataclass(frozen=True)
class Judged:
    """One comparison in bits per byte: challenger minus rival, and whether it passed.

    `bound` is what the upper end has to stay below; `smallest_visible` is the true difference
    that the set would have shown with 80% power.
    """

    requirement: str
    metric: str
    rival: str
    difference: Interval
    bound: float
    passed: bool
    smallest_visible: float
    num_records: int


@dataclass(frozen=True)
class Verdict:
    """The gate's answer and all that it rests on.

    `requirements` must all pass; of `gains` (challenger against champion on each metric named in
    a requirement) at least one must. `confidence` is of the two-sided intervals; `spent_alpha` is
    this read's share of `family_alpha`; `evidence` is the SHA-256 of all that was compared.
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


def decide(
    settings: GateSettings,
    champion: Sets,
    challenger: Sets,
    control: Sets,
    reads_before: int,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
) -> Verdict:
    """Judge a challenger; keys of the sets are metric families such as `corpus` and `feedback`.

    `reads_before` is how often gates have read these frozen records already.
    Raises UsageError for a requirement that can't be read or a set that was not measured.
    """
    if reads_before < 0:
        raise UsageError(f"reads_before {reads_before}", "0 or more", "ask the registry for it")
    sides = {"champion": champion, "challenger": challenger, "control": control}
    parsed = [_parse(requirement) for requirement in settings.require]
    metrics = sorted({metric for metric, _, _ in parsed})
    if not metrics:
        raise UsageError("a gate without requirements", "one at least", "set gate.require")
    spent = alpha_of_read(reads_before + 1)
    alpha = spent / len(metrics)

    def judge(requirement: str, metric: str, rival: str, bound: float) -> Judged:
        a, b = _measured(sides, "challenger", metric), _measured(sides, rival, metric)
        # One end alone decides, so each end of the interval may be wrong with probability alpha.
        difference = paired_difference(a, b, 1 - 2 * alpha, seed, num_resamples)
        visible = smallest_visible_difference(a, b, 1 - 2 * alpha)
        passed = difference.high < bound
        return Judged(requirement, metric, rival, difference, bound, passed, visible, a.num_records)

    requirements = tuple(
        judge(requirement, metric, rival, settings.margin if relation == "<=" else 0.0)
        for requirement, (metric, relation, rival) in zip(settings.require, parsed, strict=True)
    )
    gains = tuple(judge(f"{metric} < champion", metric, "champion", 0.0) for metric in metrics)
    return Verdict(
        promote=all(one.passed for one in requirements) and any(one.passed for one in gains),
        requirements=requirements,
        gains=gains,
        reasons=_reasons(requirements, gains),
        confidence=1 - 2 * alpha,
        family_alpha=FAMILY_ALPHA,
        spent_alpha=spent,
        read_number=reads_before + 1,
        seed=seed,
        num_resamples=num_resamples,
        evidence=_evidence(sides),
    )


def alpha_of_read(number: int) -> float:
    """How much of the 5% budget of a frozen set the read of that number (from 1) spends."""
    return FAMILY_ALPHA * 6 / (math.pi * number) ** 2


def _parse(requirement: str) -> tuple[str, str, str]:
    match = REQUIREMENT_PATTERN.fullmatch(requirement)
    if match is None:
        raise UsageError(
            f"gate requirement {requirement!r}",
            "something like 'corpus.bits_per_byte <= champion'",
            "correct gate.require in the recipe",
        )
    return match["metric"], match["relation"], match["rival"]


def _measured(sides: Mapping[str, Sets], side: str, metric: str) -> Likelihoods:
    name = metric.split(".")[0]
    if name not in sides[side]:
        raise UsageError(
            f"the {side} was not measured on {name!r}",
            f"likelihoods for {metric}",
            f"measure it, or take {metric} out of gate.require",
        )
    return sides[side][name]


def _reasons(requirements: tuple[Judged, ...], gains: tuple[Judged, ...]) -> tuple[str, ...]:
    """Why not, one sentence each; or why, when nothing stands against it."""
    against = [
        f"{one.requirement}: not shown, the difference may be as large as "
        f"{signed(one.difference.high)} and has to stay below {signed(one.bound)}"
        for one in requirements
        if not one.passed
    ]
    better = [
        f"{one.metric} is better than the champion's by {-one.difference.value:.3f}"
        for one in gains
        if one.passed
    ]
    if not better:
        against.append("no metric is better than the champion's")
    return tuple(against or better)


def _evidence(sides: Mapping[str, Sets]) -> str:
    digest = hashlib.sha256()
    for side, sets in sorted(sides.items()):
        for name, likelihoods in sorted(sets.items()):
            digest.update(f"{side} {name} {likelihoods.num_records}\n".encode())
            digest.update(likelihoods.nll_nats.astype("<f8").tobytes())
            digest.update(likelihoods.num_bytes.astype("<i8").tobytes())
    return digest.hexdigest()


def _finite(value: Any) -> Any:
    """The same values with tuples as lists and infinities as null, which JSON can hold."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and math.isinf(value) else value


def verdict_to_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict as plain JSON values (an infinite end as null)."""
    return {"format": VERDICT_FORMAT, **_finite(asdict(verdict))}


def verdict_from_json(value: Mapping[str, Any]) -> Verdict:
    """Read a stored verdict back, equal to what was stored.

    Raises FormatError for another format, missing fields, or a `promote` that does not follow
    from the requirements stored beside it.
    """
    fields = dict(value)
    try:
        if fields.pop("format") != VERDICT_FORMAT:
            raise ValueError("another format")
        for name in ("requirements", "gains"):
            fields[name] = tuple(_judged(one) for one in fields[name])
        fields["reasons"] = tuple(fields["reasons"])
        verdict = Verdict(**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"a stored verdict that can't be read ({error})",
            f"a verdict of format {VERDICT_FORMAT}",
            "run the gate again",
        ) from error
    judged = (*verdict.requirements, *verdict.gains)
    follows = all(one.passed for one in verdict.requirements) and any(
        one.passed for one in verdict.gains
    )
    if verdict.promote != follows or any(
        one.passed != (one.difference.high < one.bound) for one in judged
    ):
        raise FormatError(
            "a stored verdict that contradicts its own intervals",
            "a promotion that follows from them",
            "the record was changed; run the gate again",
        )
    return verdict


def _judged(value: Mapping[str, Any]) -> Judged:
    fields = dict(value)
    middle, low, high = (fields["difference"][name] for name in ("value", "low", "high"))
    fields["difference"] = Interval(
        middle, -math.inf if low is None else low, math.inf if high is None else high
    )
    if fields["smallest_visible"] is None:
        fields["smallest_visible"] = math.inf
    return Judged(**fields)


def gate_section(verdict: Verdict) -> GateSection:
    """The verdict as the report shows it."""
    return GateSection(
        promote=verdict.promote,
        requirements=tuple(_row(one) for one in verdict.requirements),
        gains=tuple(_row(one) for one in verdict.gains),
        reasons=verdict.reasons,
        confidence=verdict.confidence,
        family_alpha=verdict.family_alpha,
        spent_alpha=verdict.spent_alpha,
        read_number=verdict.read_number,
    )


def _row(one: Judged) -> GateRow:
    return GateRow(
        one.requirement,
        one.difference,
        one.bound,
        one.passed,
        one.smallest_visible,
        one.num_records,
    )
