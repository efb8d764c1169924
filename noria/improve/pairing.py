"""Two models on the same records, as a gate compares them: one metric, whatever it is.

In: answers of both. Out: the paired difference with its interval, which way is better, and what the
records could have shown; and the digest of everything that was compared.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from noria.errors import UsageError
from noria.evaluate import intervals
from noria.evaluate.metrics import (
    Interval,
    Likelihoods,
    paired_difference,
    smallest_visible_difference,
)
from noria.evaluate.passed import Passed, share_difference, smallest_visible_share
from noria.evaluate.results import Answers, num_answers, sums_of
from noria.evaluate.spans import SpanAnswers

Compared = Answers | Passed
Sets = Mapping[str, Compared]


@dataclass(frozen=True)
class Paired:
    """Challenger minus rival in one metric on one set."""

    difference: Interval
    smallest_visible: float
    higher_is_better: bool
    num_records: int


def paired(
    ours: Compared,
    theirs: Compared,
    metric: str,
    confidence: float,
    seed: int,
    num_resamples: int,
) -> Paired:
    """One metric of two models' answers to the same records.

    Raises UsageError for a metric that they don't have, or answers to other records.
    """
    if isinstance(ours, Likelihoods) and isinstance(theirs, Likelihoods):
        if metric != "bits_per_byte":
            raise UsageError(f"no metric {metric!r} of likelihoods", "bits_per_byte")
        return Paired(
            # One end alone decides, so each may be wrong with probability (1 - confidence) / 2.
            paired_difference(ours, theirs, confidence, seed, num_resamples),
            smallest_visible_difference(ours, theirs, confidence),
            higher_is_better=False,
            num_records=ours.num_records,
        )
    if isinstance(ours, Passed) or isinstance(theirs, Passed):
        return _passed(ours, theirs, metric, confidence, seed, num_resamples)
    first, second = sums_of(ours), sums_of(theirs)
    if metric not in first.metrics or metric not in second.metrics:
        known = ", ".join(name for name in first.metrics if ", " not in name)
        raise UsageError(f"no metric {metric!r}", f"one of {known}", "correct gate.require")
    way = first.metrics[metric]
    only = [replace(one, metrics={metric: one.metrics[metric]}) for one in (first, second)]
    most = min(num_resamples, intervals.NUM_RESAMPLES)
    found = intervals.compare(only[:1], only[1:], confidence, seed, most).get(metric)
    span = way.highest - way.lowest
    return Paired(
        found.difference if found else Interval(0.0, -span, span),
        found.smallest_visible if found else math.inf,
        way.higher_is_better,
        first.num_examples,
    )


def _passed(
    ours: Compared,
    theirs: Compared,
    metric: str,
    confidence: float,
    seed: int,
    num_resamples: int,
) -> Paired:
    if not (isinstance(ours, Passed) and isinstance(theirs, Passed) and metric == ours.metric):
        known = ours.metric if isinstance(ours, Passed) else "another"
        raise UsageError(f"no metric {metric!r}", known, "correct gate.require")
    return Paired(
        share_difference(ours, theirs, confidence, seed, num_resamples),
        smallest_visible_share(ours, theirs, confidence),
        higher_is_better=True,
        num_records=len(ours.ids),
    )


def taken(answers: Compared, mask: NDArray[np.bool_]) -> Compared | None:
    """The answers of a slice; None where it has nothing to measure."""
    if not isinstance(answers, Likelihoods):
        return answers.taken(mask) if mask.any() else None
    if not answers.num_bytes[mask].any():
        return None
    return Likelihoods(answers.nll_nats[mask], answers.num_bytes[mask], 0)


def evidence_digest(sides: Mapping[str, Sets]) -> str:
    """SHA-256 (hex) of all that each side answered on each set."""
    digest = hashlib.sha256()
    for side, sets in sorted(sides.items()):
        for name, answers in sorted(sets.items()):
            num = len(answers.ids) if isinstance(answers, Passed) else num_answers(answers)
            digest.update(f"{side} {name} {num}\n".encode())
            for part in _parts(answers):
                digest.update(part)
    return digest.hexdigest()


def _parts(answers: Compared) -> list[bytes]:
    """Everything that answers say, as bytes."""
    if isinstance(answers, Passed):
        return [repr((answers.metric, answers.ids)).encode("utf-8"), answers.passed.tobytes()]
    if isinstance(answers, Likelihoods):
        return [answers.nll_nats.astype("<f8").tobytes(), answers.num_bytes.astype("<i8").tobytes()]
    if isinstance(answers, SpanAnswers):
        sides = zip(answers.gold, answers.predicted, strict=True)
        rows = [[sorted((s.start, s.end, s.tag) for s in side) for side in both] for both in sides]
        return [repr(rows).encode("utf-8")]
    return [
        repr((answers.labels, answers.threshold)).encode("utf-8"),
        answers.gold.astype("<i8").tobytes(),
        answers.probabilities.astype("<f8").tobytes(),
    ]
