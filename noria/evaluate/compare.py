"""Two models on the same records: each metric side by side, by slice, and where they differ most.

In: two results. Out: differences with interval, p-value, a word, and the smallest difference that
the set could have shown. It does not know what the models are.

p-values of slices are Holm's (1979) over the slices of one metric, so that among many slices one is
not called different by luck; those of the whole set stand alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from noria.errors import UsageError
from noria.evaluate import intervals
from noria.evaluate.classes import NONE, Classified, MultiLabelled
from noria.evaluate.harness import data_digest
from noria.evaluate.intervals import Difference
from noria.evaluate.metrics import (
    NUM_RESAMPLES,
    Floats,
    Interval,
    Likelihoods,
    bits_per_byte,
    paired_difference,
    paired_p_value,
    smallest_visible_difference,
)
from noria.evaluate.results import Answers, Result, sums_of
from noria.evaluate.slices import Mask, slices_of
from noria.evaluate.spans import SpanAnswers
from noria.records import Span

BETTER, WORSE, NO_DIFFERENCE = "better", "worse", "no difference seen"
WHOLE = "all"
MAIN_METRICS = ("bits_per_byte", "accuracy", "micro_f1")
_WORDS = {1: BETTER, -1: WORSE, 0: NO_DIFFERENCE}


@dataclass(frozen=True)
class Row:
    """One metric on one slice; `verdict` is of a."""

    slice: str
    metric: str
    difference: Difference
    verdict: str


@dataclass(frozen=True)
class Example:
    """A record on which the two differ: its place, and what each made of it.

    `gain` is how much better a is here: bits per byte, or probability of the right answer, or
    spans right less spans wrong.
    """

    place: int
    gain: float
    a: str
    b: str


def compare(
    a: Likelihoods,
    b: Likelihoods,
    confidence: float = 0.95,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> Difference:
    """Bits per byte of a and of b on the same records; below zero: a is better.

    Raises UsageError if they were measured on different ones.
    """
    difference = paired_difference(a, b, confidence, seed, num_resamples)
    verdict = verdict_of(difference)
    return Difference(
        bits_per_byte(a, confidence, seed, num_resamples=1).value,
        bits_per_byte(b, confidence, seed, num_resamples=1).value,
        difference,
        paired_p_value(a, b, seed, num_resamples),
        smallest_visible_difference(a, b, confidence),
        {BETTER: 1, WORSE: -1}.get(verdict, 0),
        a.num_records,
    )


def compare_results(
    a: Result, b: Result, metrics: Sequence[str] = (), confidence: float = 0.95, seed: int = 0
) -> list[Row]:
    """Every metric on all records, then those in `metrics` on each slice.

    Without `metrics` it is the first of MAIN_METRICS that these answers have.

    Raises UsageError for results of another kind or on other records, MissingExtra without scipy
    where the answers are not likelihoods.
    """
    if data_digest(a.records) != data_digest(b.records) or type(a.answers) is not type(b.answers):
        raise UsageError(
            f"results on {len(a.records):,} and on {len(b.records):,} records that differ",
            "two results of one kind on the same records, in the same order",
            "measure both on one set",
        )
    whole = _compared(a.answers, b.answers, confidence, seed)
    rows = [Row(WHOLE, name, one, _WORDS[one.better]) for name, one in whole.items()]
    wanted = list(metrics) or [name for name in MAIN_METRICS if name in whole][:1]
    by_metric: dict[str, list[Row]] = {name: [] for name in wanted}
    for name, mask in slices_of(a.records).items():
        if isinstance(a.answers, Likelihoods) and not a.answers.num_bytes[mask].any():
            continue
        parts = _taken(a.answers, mask), _taken(b.answers, mask)
        found = _compared(*parts, confidence, seed)
        for metric in wanted:
            if metric in found:
                by_metric[metric].append(Row(name, metric, found[metric], NO_DIFFERENCE))
    return rows + [row for some in by_metric.values() for row in _by_holm(some, 1 - confidence)]


def _compared(a: Answers, b: Answers, confidence: float, seed: int) -> dict[str, Difference]:
    if isinstance(a, Likelihoods) and isinstance(b, Likelihoods):
        return {"bits_per_byte": compare(a, b, confidence, seed)}
    return intervals.compare([sums_of(a)], [sums_of(b)], confidence, seed)


def _taken(answers: Answers, mask: Mask) -> Answers:
    if isinstance(answers, Likelihoods):
        return Likelihoods(answers.nll_nats[mask], answers.num_bytes[mask], 0)
    return answers.taken(mask)


def _by_holm(rows: Sequence[Row], alpha: float) -> list[Row]:
    """The rows with Holm's p-values, and a verdict only where both it and the interval say so."""
    order = sorted(range(len(rows)), key=lambda place: rows[place].difference.p_value)
    adjusted = [1.0] * len(rows)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, rows[place].difference.p_value * (len(rows) - rank)))
        adjusted[place] = highest
    found = []
    for row, p_value in zip(rows, adjusted, strict=True):
        better = row.difference.better if p_value <= alpha else 0
        difference = replace(row.difference, p_value=p_value, better=better)
        found.append(Row(row.slice, row.metric, difference, _WORDS[better]))
    return found


def most_different(a: Result, b: Result, at_most: int) -> list[Example]:
    """The records on which the two differ most, the largest difference first; equal ones are out.

    A class or a set of labels differs by the probability of what is right, a text's likelihood by
    bits per byte of it.
    """
    gains = _gains(a.answers, b.answers)
    order = np.argsort(-np.abs(gains), kind="stable")[:at_most]
    return [
        Example(
            int(place),
            float(gains[place]),
            said(a.answers, int(place)),
            said(b.answers, int(place)),
        )
        for place in order
        if gains[place] != 0
    ]


def _gains(a: Answers, b: Answers) -> Floats:
    """(E,) how much better a is on each record."""
    sides = [_goodness(one) for one in (a, b)]
    gains: Floats = sides[0] - sides[1]
    return gains


def _goodness(answers: Answers) -> Floats:
    """(E,) how good each answer is: the higher, the better."""
    match answers:
        case Likelihoods():
            found = -answers.nll_nats / math.log(2) / np.maximum(answers.num_bytes, 1)
        case Classified():
            right = answers.probabilities[np.arange(len(answers.gold)), answers.gold]
            found = np.where(answers.gold == NONE, 1 - answers.confidence, right)
        case MultiLabelled():
            found = -np.abs(answers.probabilities - answers.gold).mean(axis=1)
        case SpanAnswers():
            pairs = zip(answers.gold, answers.predicted, strict=True)
            found = np.array([len(gold & given) - len(given - gold) for gold, given in pairs])
    return found.astype(np.float64)


def said(answers: Answers, place: int) -> str:
    """What was made of one record, in a few words."""
    match answers:
        case Likelihoods():
            return f"{-_goodness(answers)[place]:.3f} bits per byte"
        case Classified():
            chosen = int(answers.predicted[place])
            sure = f"{answers.confidence[place]:.2f}"
            return f"abstained ({sure})" if chosen == NONE else f"{answers.labels[chosen]} ({sure})"
        case MultiLabelled():
            chosen_labels = np.flatnonzero(answers.predicted[place])
            return ", ".join(answers.labels[index] for index in chosen_labels) or "(none)"
        case SpanAnswers():
            spans = sorted(answers.predicted[place], key=_place_of)
            return ", ".join(f"{one.tag} {one.start}–{one.end}" for one in spans) or "(none)"


def _place_of(span: Span) -> tuple[int, int, str]:
    return span.start, span.end, span.tag


def sentence(metric: str, found: Difference, a: str, b: str, confidence: float = 0.95) -> str:
    """One sentence in which `a` and `b` are the names of the two models."""
    word = {1: "is better than", -1: "is worse than"}.get(found.better)
    ends = f"{signed(found.difference.low)} to {signed(found.difference.high)}"
    figures = (
        f"{found.a:.3f} against {found.b:.3f} {metric.replace('_', ' ')}, difference "
        f"{signed(found.difference.value)} ({confidence * 100:.3g}% interval {ends})"
    )
    if word:
        return f"{a} {word} {b}: {figures}."
    return (
        f"No difference was seen between {a} and {b}: {figures}; these {found.num_examples} "
        f"records would have shown one of {found.smallest_visible:.3f}."
    )


def verdict_of(difference: Interval) -> str:
    """The word for an interval of a - b in bits per byte: zero inside means nothing was seen."""
    if difference.high < 0:
        return BETTER
    return WORSE if difference.low > 0 else NO_DIFFERENCE


def signed(value: float, decimals: int = 3) -> str:
    """A difference with its sign and a true minus, such as −0.042."""
    return f"{value:+.{decimals}f}".replace("-", "−").replace("inf", "∞")
