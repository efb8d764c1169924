"""The gate: does a challenger go live? A pure function of answers, settings and past reads.

In: what champion, challenger and control made of the same records, one set of them a name; any
metric of them (bits per byte, accuracy, macro F1, span F1 …). Out: a verdict with every
requirement, its interval and its reason; the same in, the same out. It reads no file, no clock and
no registry, and it does not know what a model is. Nothing here reads a text: numbers decide, so
feedback cannot talk to the judge.

False promotions. A frozen set is read many times, and each read is a chance to be lucky. All reads
of a set share one budget of 5%: read k (from 1) may be wrong with probability

    alpha_k = 0.05 * 6 / (pi^2 k^2),        sum over all k = 0.05     (Euler: sum 1/k^2 = pi^2/6)

and, where read k - 1 promoted, with what that one might (Tian & Ramdas 2021, online fallback): up
to the first false promotion no part of the budget is at stake twice. A read's share is divided by
the number of metrics on which a challenger can earn its promotion (Bonferroni). To be promoted it
has to meet every requirement and be better than the champion on one of those metrics.

What is not shown either way is "not enough evidence". With standard error s from n records and an
observed distance d to the bound, a read at level alpha decides with 80% power if
d >= (t_{1 - alpha} + t_{0.8}) s (Cohen 1988, chapter 2); s shrinks with 1 / sqrt(n), so about
n ((t_{1 - alpha} + t_{0.8}) s / d)^2 records would, alpha being that of the next read.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from noria.errors import UsageError
from noria.evaluate.metrics import NUM_RESAMPLES, student_quantile
from noria.evaluate.passed import Passed
from noria.improve.pairing import Compared, Paired, Sets, evidence_digest, paired, taken
from noria.improve.reasons import reasons_of
from noria.improve.verdict import (
    PROMOTE,
    Judged,
    Limited,
    Sliced,
    Verdict,
    decision_of,
    lies_beyond,
)
from noria.recipe import FEEDBACK_SETS, REQUIREMENT_PATTERN, SAFETY_SET, GateSettings

FAMILY_ALPHA = 0.05
SLICE_ALPHA = 0.05  # of all slices of a read together
POWER = 0.8
MOST_NEEDED = 10**9  # records; of more the answer is that no number would decide

Masks = Mapping[str, Mapping[str, NDArray[np.bool_]]]  # metric -> slice -> which of its records


def decide(
    settings: GateSettings,
    champion: Sets,
    challenger: Sets,
    control: Sets,
    reads_before: int,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
    *,
    earning: Collection[str] = (),
    slices: Masks | None = None,
    limits: tuple[Limited, ...] = (),
    held_out_share: float = 0.0,
    passed_on: float = 0.0,
) -> Verdict:
    """Judge a challenger; keys of the sets are what stands before a metric: `corpus`, `intent`.

    `reads_before` is how often gates have read these frozen records already, `passed_on` what the
    last of them left to this one (`Verdict.passed_on`). `earning`: the sets on which a promotion
    can be earned, all if none is named; `slices`: the parts of a metric's set on which a regression
    refuses; `held_out_share`: how much of all feedback is kept for the gate.
    Raises UsageError for a requirement that can't be read, a set that was not measured or a metric
    that it doesn't have.
    """
    if reads_before < 0:
        raise UsageError(f"reads_before {reads_before}", "0 or more", "ask the registry for it")
    sides = {"champion": champion, "challenger": challenger, "control": control}
    parsed = [_parse(requirement) for requirement in settings.require]
    metrics = sorted(
        {metric for metric, _, _ in parsed if not earning or set_of(metric) in earning}
    )
    if not metrics:
        raise UsageError("a gate without requirements", "one at least", "set gate.require")
    spent = alpha_of_read(reads_before + 1) + passed_on
    levels = spent / len(metrics), alpha_of_read(reads_before + 2) / len(metrics)

    @cache
    def compared(metric: str, rival: str) -> Paired:
        return _compared(sides, metric, rival, 1 - 2 * levels[0], seed, num_resamples)

    def judge(requirement: str, metric: str, rival: str, relation: str) -> Judged:
        found = compared(metric, rival)
        one = _judged(requirement, (metric, relation, rival), found, settings, levels)
        return replace(one, feedback_needed=_feedback_needed(one, held_out_share))

    requirements = tuple(
        judge(requirement, metric, rival, relation)
        for requirement, (metric, relation, rival) in zip(settings.require, parsed, strict=True)
    )
    signs = {metric: relation[0] for metric, relation, _ in parsed}
    gains = tuple(
        judge(f"{metric} {signs[metric]} champion", metric, "champion", signs[metric])
        for metric in metrics
    )
    cut = _sliced(sides, slices or {}, settings, seed, num_resamples)
    return Verdict(
        promote=decision_of(requirements, gains, cut, limits) == PROMOTE,
        requirements=requirements,
        gains=gains,
        reasons=reasons_of(requirements, gains, cut, limits),
        confidence=1 - 2 * levels[0],
        family_alpha=FAMILY_ALPHA,
        spent_alpha=spent,
        read_number=reads_before + 1,
        seed=seed,
        num_resamples=num_resamples,
        evidence=evidence_digest(sides),
        slices=cut,
        limits=limits,
        failed_prompts=_failed_prompts(challenger),
    )


def alpha_of_read(number: int) -> float:
    """How much of the 5% budget of a frozen set the read of that number (from 1) has of its own."""
    return FAMILY_ALPHA * 6 / (math.pi * number) ** 2


def set_of(metric: str) -> str:
    """The set that a metric is measured on: what stands before the last dot."""
    return metric.rpartition(".")[0]


def _parse(requirement: str) -> tuple[str, str, str]:
    match = REQUIREMENT_PATTERN.fullmatch(requirement)
    if match is None:
        raise UsageError(
            f"gate requirement {requirement!r}",
            "something like 'corpus.bits_per_byte <= champion' or 'intent.accuracy >= champion'",
            "correct gate.require in the recipe",
        )
    return match["metric"], match["relation"], match["rival"]


def _compared(
    sides: Mapping[str, Sets],
    metric: str,
    rival: str,
    confidence: float,
    seed: int,
    num_resamples: int,
) -> Paired:
    ours, theirs = (_measured(sides, side, metric) for side in ("challenger", rival))
    return paired(ours, theirs, metric.rpartition(".")[2], confidence, seed, num_resamples)


def _measured(sides: Mapping[str, Sets], side: str, metric: str) -> Compared:
    name = set_of(metric)
    if name not in sides[side]:
        raise UsageError(
            f"the {side} was not measured on {name!r}",
            f"answers for {metric}",
            f"measure it, or take {metric} out of gate.require",
        )
    return sides[side][name]


def _judged(
    requirement: str,
    parsed: tuple[str, str, str],
    found: Paired,
    settings: GateSettings,
    levels: tuple[float, float],
) -> Judged:
    """`levels`: how often this read may be wrong, and how often the next."""
    metric, relation, rival = parsed
    higher = found.higher_is_better
    if (relation[0] == ">") != higher:
        raise UsageError(
            f"gate requirement {requirement!r}",
            f"{'>' if higher else '<'}, since {'higher' if higher else 'lower'} is better",
            "correct gate.require in the recipe",
        )
    bound = _bound(metric, settings, higher) if relation.endswith("=") else 0.0
    judged = Judged(
        requirement,
        metric,
        rival,
        found.difference,
        bound,
        lies_beyond(found.difference, bound, higher),
        found.smallest_visible,
        found.num_records,
        higher,
    )
    if judged.passed or judged.failed:
        return judged
    return replace(judged, num_needed=_needed(found, bound, levels))


def _bound(metric: str, settings: GateSettings, higher: bool) -> float:
    """How much worse still counts as not worse, with the sign of worse."""
    most = settings.margin if metric.endswith(".bits_per_byte") else settings.score_margin
    return -most if higher else most


def _needed(found: Paired, bound: float, levels: tuple[float, float]) -> int | None:
    """Records with which the next read would decide; see the head of this module."""
    distance, freedom = abs(found.difference.value - bound), found.num_records - 1
    if not distance or not math.isfinite(found.smallest_visible):
        return None
    now, then = (student_quantile(1 - one, freedom) for one in levels)
    power = student_quantile(POWER, freedom)
    visible = found.smallest_visible * (then + power) / (now + power)
    needed = found.num_records * (visible / distance) ** 2
    return math.ceil(needed) if needed < MOST_NEEDED else None


def _feedback_needed(one: Judged, held_out_share: float) -> int | None:
    """How much more feedback there has to be for `num_needed` records of it to be held out."""
    is_heard = set_of(one.metric).rpartition(".")[2] in FEEDBACK_SETS
    if one.num_needed is None or not is_heard or not held_out_share:
        return None
    return math.ceil((one.num_needed - one.num_records) / held_out_share)


def _failed_prompts(challenger: Sets) -> tuple[str, ...]:
    """The safety prompts whose rules the challenger breaks."""
    found = challenger.get(SAFETY_SET)
    return found.failed if isinstance(found, Passed) else ()


def _sliced(
    sides: Mapping[str, Sets],
    slices: Masks,
    settings: GateSettings,
    seed: int,
    num_resamples: int,
) -> tuple[Sliced, ...]:
    """Challenger against champion on each slice (Bonferroni over all of them)."""
    asked = [(metric, name) for metric, masks in slices.items() for name in masks]
    confidence = 1 - 2 * SLICE_ALPHA / max(1, len(asked))
    rows = []
    for metric, name in asked:
        mask = slices[metric][name]
        ours, theirs = (
            taken(_measured(sides, side, metric), mask) for side in ("challenger", "champion")
        )
        if ours is None or theirs is None:
            continue
        last = metric.rpartition(".")[2]
        found = paired(ours, theirs, last, confidence, seed, num_resamples)
        higher = found.higher_is_better
        bound = _bound(metric, settings, higher)
        regressed = lies_beyond(found.difference, bound, not higher)
        rows.append(
            Sliced(
                name,
                metric,
                found.difference,
                bound,
                regressed,
                found.num_records,
                confidence,
                higher,
            )
        )
    return tuple(rows)
