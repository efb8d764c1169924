"""Metrics with intervals, and paired differences with p-values.

In: the sums of one or several runs on the same examples. Out: values with intervals, and whether a
is shown to be better than b. Each end of an interval is the more cautious of

- the percentile bootstrap over examples or groups (Efron & Tibshirani 1993, chapter 13), and
- Student's t with the bootstrap's standard error, which is wider for few examples;

and exact (noria.evaluate.exact) for a plain share of independent examples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from noria.errors import UsageError
from noria.evaluate.exact import mcnemar, share_interval
from noria.evaluate.metrics import Floats, Interval, student_quantile, student_two_tails
from noria.evaluate.sums import Metric, Sums, num_units_of, resampled

NUM_RESAMPLES = 2_000


@dataclass(frozen=True)
class Difference:
    """a - b on the same examples: both values, the interval, and what could have been seen.

    `p_value` is two-sided, for the hypothesis that there is no difference; `better` is +1 if a is
    shown to be better, -1 if b is, 0 if no difference is seen. `smallest_visible` is the true
    difference that would be seen four times out of five.
    """

    a: float
    b: float
    difference: Interval
    p_value: float
    smallest_visible: float
    better: int
    num_examples: int


def measure(
    runs: Sequence[Sums],
    confidence: float = 0.95,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> dict[str, Interval]:
    """Every metric of one run, or the mean over several training seeds, with its interval.

    Several runs: the variance between them counts too (divided by how many, with Welch's and
    Satterthwaite's degrees of freedom, 1946), so that the interval is about the recipe and not
    about one set of weights. A metric that is not defined on these examples is left out.
    Raises UsageError for runs on other examples, MissingExtra without scipy.
    """
    _require_same(runs, confidence)
    drawn = resampled(runs, seed, num_resamples)
    found = {}
    for name, metric in runs[0].metrics.items():
        values = np.array([run.value(name) for run in runs])
        if np.isnan(values).any():
            continue
        if metric.share is not None and len(runs) == 1 and not runs[0].groups:
            totals = np.asarray(runs[0].added.sum(axis=0)).reshape(-1)
            successes, trials = (round(float(totals[place])) for place in metric.share)
            found[name] = share_interval(successes, trials, confidence)
            continue
        draws = np.mean([one[name] for one in drawn], axis=0)
        parts = [_Variance.of(draws, num_units_of(runs[0]) - 1), *_between([values])]
        found[name] = _interval(float(values.mean()), draws, parts, confidence, metric)
    return found


def compare(
    a: Sequence[Sums],
    b: Sequence[Sums],
    confidence: float = 0.95,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> dict[str, Difference]:
    """Every metric that both have: a - b, both resampled by the same draws.

    A share of the same examples is judged by McNemar's exact test as well (1947), anything else by
    the level at which the interval's end touches zero. A difference is only called one if
    interval and p-value agree. Raises UsageError for other examples, MissingExtra without scipy.
    """
    _require_same([*a, *b], confidence)
    drawn_a, drawn_b = resampled(a, seed, num_resamples), resampled(b, seed, num_resamples)
    found = {}
    for name, metric in a[0].metrics.items():
        if name not in b[0].metrics:
            continue
        ours, theirs = (np.array([run.value(name) for run in runs]) for runs in (a, b))
        if np.isnan(ours).any() or np.isnan(theirs).any():
            continue
        draws = np.mean([one[name] for one in drawn_a], axis=0)
        draws -= np.mean([one[name] for one in drawn_b], axis=0)
        parts = [_Variance.of(draws, num_units_of(a[0]) - 1), *_between([ours, theirs])]
        value = float(ours.mean() - theirs.mean())
        span = metric.highest - metric.lowest
        limits = Metric(metric.of, -span, span, metric.higher_is_better)
        interval = _interval(value, draws, parts, confidence, limits)
        p_value = _p_value(value, draws, parts)
        if metric.share is not None and len(a) == len(b) == 1 and not a[0].groups:
            p_value = _exact_p_value(a[0], b[0], metric.share, p_value)
        found[name] = Difference(
            float(ours.mean()),
            float(theirs.mean()),
            interval,
            p_value,
            _visible(parts, confidence),
            _verdict(interval, p_value, confidence, metric.higher_is_better),
            a[0].num_examples,
        )
    return found


@dataclass(frozen=True)
class _Variance:
    """A part of a variance and its degrees of freedom."""

    value: float
    freedom: int

    @classmethod
    def of(cls, draws: Floats, freedom: int) -> _Variance:
        usable = draws[np.isfinite(draws)]
        if freedom < 1 or len(usable) < 2:
            return cls(math.inf, 0)
        # a bootstrap's variance divides by U, not by U - 1
        return cls(float(usable.var(ddof=1)) * (freedom + 1) / freedom, freedom)


def _between(sides: Sequence[Floats]) -> list[_Variance]:
    """The variance of each side's mean over runs; nothing of it is known from one run."""
    return [
        _Variance(float(values.var(ddof=1)) / len(values), len(values) - 1)
        for values in sides
        if len(values) > 1
    ]


def _error_and_freedom(parts: Sequence[_Variance]) -> tuple[float, int]:
    """Standard error of the sum of the parts; freedom by Welch and Satterthwaite."""
    variance = sum(part.value for part in parts)
    if not math.isfinite(variance) or variance <= 0:
        return math.sqrt(variance), parts[0].freedom
    shares = sum((part.value / variance) ** 2 / part.freedom for part in parts)
    return math.sqrt(variance), max(1, int(1 / shares))


def _interval(
    value: float, draws: Floats, parts: Sequence[_Variance], confidence: float, metric: Metric
) -> Interval:
    error, freedom = _error_and_freedom(parts)
    if not math.isfinite(error):
        return Interval(value, metric.lowest, metric.highest)
    tail = (1 - confidence) / 2
    reach = student_quantile(1 - tail, freedom) * error
    usable = draws[np.isfinite(draws)]
    low = min(float(np.quantile(usable, tail, method="lower")), value - reach)
    high = max(float(np.quantile(usable, 1 - tail, method="higher")), value + reach)
    if metric.biased:  # resampling adds its noise once more: so much has the value of it already
        low = min(low, 3 * value - high - float(usable.mean()))
    if error == 0:
        # All U alike: even a share of 1 - tail^(1/U) of others would often leave none among them.
        others = 1 - tail ** (1 / (parts[0].freedom + 1))
        width = metric.highest - metric.lowest
        low = metric.highest - others * width if value == metric.highest else low
        high = metric.lowest + others * width if value == metric.lowest else high
    return Interval(value, max(low, metric.lowest), min(high, metric.highest))


def _p_value(value: float, draws: Floats, parts: Sequence[_Variance]) -> float:
    """The level at which the more cautious of both intervals touches zero."""
    error, freedom = _error_and_freedom(parts)
    usable = draws[np.isfinite(draws)]
    if value == 0 or not math.isfinite(error):
        return 1.0
    beyond = int((usable <= 0).sum() if value > 0 else (usable >= 0).sum())
    percentile = min(1.0, 2 * (beyond + 1) / (len(usable) + 1))
    student = student_two_tails(value / error, freedom) if error else 0.0
    return max(percentile, student)


def _exact_p_value(a: Sums, b: Sums, share: tuple[int, int], otherwise: float) -> float:
    """McNemar's test on the examples that count, where they are the same for both."""
    (ours, trials), (theirs, trials_b) = (
        (one.added[:, [share[0]]].toarray()[:, 0], one.added[:, [share[1]]].toarray()[:, 0])
        for one in (a, b)
    )
    if not np.array_equal(trials, trials_b):
        return otherwise
    return mcnemar(int((ours > theirs).sum()), int((theirs > ours).sum()))


def _visible(parts: Sequence[_Variance], confidence: float, power: float = 0.8) -> float:
    """(t_{1 - alpha/2} + t_{power}) standard errors of the difference; Cohen (1988), chapter 2."""
    error, freedom = _error_and_freedom(parts)
    if not math.isfinite(error):
        return math.inf
    return error * (
        student_quantile((1 + confidence) / 2, freedom) + student_quantile(power, freedom)
    )


def _verdict(interval: Interval, p_value: float, confidence: float, higher: bool) -> int:
    if p_value > 1 - confidence or interval.low <= 0 <= interval.high:
        return 0
    return 1 if (interval.value > 0) == higher else -1


def _require_same(runs: Sequence[Sums], confidence: float) -> None:
    if not 0.5 <= confidence < 1:
        raise UsageError(f"confidence {confidence}", "0.5 or more, below 1", "0.95 is usual")
    if not runs:
        raise UsageError("no runs", "one at least", "measure a model")
    first = runs[0]
    if any(one.num_examples != first.num_examples or one.groups != first.groups for one in runs):
        counts = ", ".join(f"{one.num_examples:,}" for one in runs)
        raise UsageError(
            f"results on {counts} examples or on other groups",
            "the same examples for all",
            "measure all on one set",
        )
