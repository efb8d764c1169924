"""Which way to a model is served: chosen on what is held out, confirmed on the test.

In: what each way says of the held-out and the test rows. Out: contenders, each calibrated by one
temperature and with a threshold, both found on what is held out; and the one that is served.

A way that costs more than the baseline is served only if it is better on what is held out. The test
chooses nothing but this: where the chosen one is worse than the baseline there, with significance,
the baseline is served.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.evaluate import intervals
from noria.evaluate.compare import sentence
from noria.evaluate.intervals import Difference
from noria.evaluate.metrics import Interval
from noria.evaluate.results import Answers, sums_of
from noria.evaluate.sums import Sums
from noria.stages.task_examples import Examples
from noria.task_settings import BASELINE
from noria.tasks.calibration import fitted_temperature, joined, surprise
from noria.tasks.declaration import Task
from noria.tasks.task_model import Description, Part

Floats = NDArray[np.float64]
JOINED = "joined"
NUM_PICKS = 12  # of ways, each as often as it helps, that are joined


@dataclass(frozen=True, eq=False)
class Said:
    """What one way's model says of what is measured, and the hash of its weights."""

    way: str
    weight_hash: str
    held_out: Floats
    test: Floats


@dataclass(frozen=True, eq=False)
class Contender:
    """A way with its temperature and threshold: what it answers, and how good that is.

    `value` is that of the main metric on what is held out, by which one is chosen.
    """

    description: Description
    value: float
    held_out: Floats
    test: Floats
    answers: Answers

    @property
    def way(self) -> str:
        """The way, or "joined"."""
        return self.description.way


@dataclass(frozen=True, eq=False)
class Verdict:
    """The contender that is served, and the sentences that say why."""

    served: Contender
    why: tuple[str, ...]


def contenders_of(
    name: str,
    task: Task,
    said: Sequence[Said],
    splits: tuple[Examples, Examples],
    labels: Sequence[str],
    many: bool,
    join: bool,
) -> list[Contender]:
    """Each way alone, and what several say together if that is wanted.

    `splits`: what is held out, and the test.
    """

    contender = partial(contender_of, name, task, splits=splits, labels=labels, many=many)
    found = [contender(one.way, [one], [1.0]) for one in said]
    weights = _weights(found, splits[0], many) if join else [0.0] * len(found)
    parts = [pair for pair in zip(said, weights, strict=True) if pair[1]]
    if len(parts) > 1:
        found.append(contender(JOINED, *map(list, zip(*parts, strict=True))))
    return found


def contender_of(
    name: str,
    task: Task,
    way: str,
    parts: Sequence[Said],
    weights: Sequence[float],
    *,
    splits: tuple[Examples, Examples],
    labels: Sequence[str],
    many: bool,
) -> Contender:
    """One way, or several with their weights: calibrated on what is held out."""
    raw = joined([one.held_out for one in parts], weights, 1.0, many)
    temperature = fitted_temperature(*splits[0].to_calibrate(raw))
    held_out, test = (
        joined([getattr(one, split) for one in parts], weights, temperature, many)
        for split in ("held_out", "test")
    )
    threshold = splits[0].threshold(held_out, 0.0)
    description = Description(
        name=name,
        kind=task.kind,
        way=way,
        labels=tuple(labels),
        many=many,
        temperature=temperature,
        threshold=threshold,
        parts=tuple(
            Part(one.way, one.way, weight, one.weight_hash)
            for one, weight in zip(parts, weights, strict=True)
        ),
    )
    value = value_of([splits[0].answers(held_out, threshold)], task.metric(many)).value
    return Contender(description, value, held_out, test, splits[1].answers(test, threshold))


def _weights(contenders: Sequence[Contender], held_out: Examples, many: bool) -> list[float]:
    """How much each counts where they speak together; 0 for most, and for all without examples.

    They are picked one by one, again and again, each time the one with which what is held out gets
    likeliest (Caruana et al. 2004, "Ensemble selection from libraries of models"); a way counts as
    often as it was picked. Picks are of calibrated logits; of raw ones each counts by
    1 / its temperature too.
    """
    rows, golds = zip(*(held_out.to_calibrate(one.held_out) for one in contenders), strict=True)
    picks = np.zeros(len(contenders), dtype=np.int64)
    best, least = picks, inf
    for _ in range(NUM_PICKS if len(golds[0]) else 0):
        trials = [picks + one for one in np.eye(len(contenders), dtype=np.int64)]
        surprises = [
            surprise(joined(rows, trial.tolist(), 1.0, many), golds[0]) for trial in trials
        ]
        picks = trials[int(np.argmin(surprises))]
        if min(surprises) < least:
            best, least = picks, min(surprises)
    raw = [count / one.description.temperature for count, one in zip(best, contenders, strict=True)]
    return [one / max(sum(raw), 1.0) for one in raw]


def choose(
    contenders: Sequence[Contender],
    held_out: Examples,
    metric: str,
    answered_right: float,
    seed: int,
) -> Verdict:
    """The contender to serve. `contenders`: the cheapest first, the baseline among them."""
    baseline = next(one for one in contenders if one.way == BASELINE)
    best = baseline
    for one in contenders:
        if one.value > best.value:
            best = one
    name = metric.replace("_", " ")
    figures = f"{name} {best.value:.3f} on what is held out"
    if best is baseline:
        why = [f"{BASELINE} is chosen, {figures}: nothing is better there."]
    else:
        why = [f"{best.way} is chosen, {figures}; {BASELINE} has {baseline.value:.3f}."]
        difference = difference_of([best.answers], [baseline.answers], metric, seed)
        why.append("On the test: " + sentence(metric, difference, best.way, BASELINE))
        if difference.better < 0:
            why.append(f"So {BASELINE} is served, which is cheaper too.")
            best = baseline
    threshold = held_out.threshold(best.held_out, answered_right)
    return Verdict(
        replace(best, description=replace(best.description, threshold=threshold)), tuple(why)
    )


def value_of(runs: Sequence[Answers], metric: str, seed: int = 0) -> Interval:
    """One metric of the answers of one training, or of several, with its interval."""
    found = intervals.measure([_only(sums_of(one), metric) for one in runs], seed=seed)
    return found.get(metric, Interval(0.0, 0.0, 1.0))  # F1 of nothing there and nothing given


def difference_of(
    ours: Sequence[Answers], theirs: Sequence[Answers], metric: str, seed: int
) -> Difference:
    """One metric of two ways' answers to the same records, each of one training or of several."""
    first, second = ([_only(sums_of(one), metric) for one in runs] for runs in (ours, theirs))
    found = intervals.compare(first, second, seed=seed)
    nothing = Difference(0.0, 0.0, Interval(0.0, -1.0, 1.0), 1.0, 1.0, 0, first[0].num_examples)
    return found.get(metric, nothing)


def difference_facts(found: Difference) -> dict[str, Any]:
    """A difference as JSON values."""
    ends = found.difference
    return {
        "value": ends.value,
        "low": ends.low,
        "high": ends.high,
        "p_value": found.p_value,
        "smallest_visible": found.smallest_visible if isfinite(found.smallest_visible) else None,
        "better": found.better,
    }


def _only(sums: Sums, metric: str) -> Sums:
    """Sums of which one metric is asked; of ten thousand classes the others take minutes."""
    return replace(sums, metrics={metric: sums.metrics[metric]})
