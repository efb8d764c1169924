"""Numbers with intervals: bits per byte of one model, and the paired difference of two.

In: negative log likelihoods and byte counts, one of each a record. Out: values with intervals.
This module knows nothing of models, tokenizers or files: arrays in, numbers out.

Bits per byte is a ratio of sums, sum(nll) / ln 2 / sum(bytes), and does not depend on the
tokenizer. Records are the unit of resampling. Each end of an interval is the more cautious of two:

- the percentile bootstrap over records (Efron & Tibshirani 1993, chapter 13), which sees skew but
  is too narrow for few records and can't see tails rarer than 1 / num_resamples;
- Student's t with the linearised variance of a ratio (Cochran 1977, section 6.4), which is right
  in far tails and for few records but assumes symmetry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from noria.errors import UsageError

Floats = NDArray[np.float64]

NUM_RESAMPLES = 10_000
_MAX_DRAWN = 1 << 22  # indices drawn at once; bounds the memory of the bootstrap


@dataclass(frozen=True)
class Interval:
    """A value and the ends of its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Likelihoods:
    """What a model made of N records: `nll_nats` (N,) and `num_bytes` (N,), in the same order."""

    nll_nats: Floats
    num_bytes: NDArray[np.int64]
    num_tokens: int

    def __post_init__(self) -> None:
        shapes = (self.nll_nats.shape, self.num_bytes.shape)
        if shapes[0] != shapes[1] or self.nll_nats.ndim != 1 or self.num_bytes.sum() <= 0:
            raise UsageError(
                f"likelihoods of shape {shapes[0]} over bytes of shape {shapes[1]}",
                "one of each a record, and at least one byte",
                "measure on records that hold text",
            )
        if not np.isfinite(self.nll_nats).all():
            raise UsageError(
                "a likelihood that is not a number", "finite values", "the weights are broken"
            )

    @property
    def num_records(self) -> int:
        """How many records were measured."""
        return len(self.nll_nats)


def bits_per_byte(
    likelihoods: Likelihoods,
    confidence: float = 0.95,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> Interval:
    """Bits that the model needs for a byte of the records' text; lower is better."""
    bits = likelihoods.nll_nats / math.log(2)
    return ratio_interval(bits, likelihoods.num_bytes, confidence, seed, num_resamples)


def paired_difference(
    a: Likelihoods,
    b: Likelihoods,
    confidence: float = 0.95,
    seed: int = 0,
    num_resamples: int = NUM_RESAMPLES,
) -> Interval:
    """bits_per_byte(a) - bits_per_byte(b) on the same records; below zero: a is better.

    Each end alone is wrong with a probability of at most (1 - confidence) / 2.
    Raises UsageError if a and b were not measured on the same records.
    """
    bits = _bit_differences(a, b)
    return ratio_interval(bits, a.num_bytes, confidence, seed, num_resamples)


def paired_p_value(
    a: Likelihoods, b: Likelihoods, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> float:
    """Two-sided p-value that both need as many bits per byte: 1 for a single record.

    The level at which the end of `paired_difference`'s interval touches zero, which is the larger
    one of the bootstrap's and Student's. Raises UsageError as that does.
    """
    bits = _bit_differences(a, b)
    value = float(bits.sum() / a.num_bytes.sum())
    error = ratio_error(bits, a.num_bytes)
    if value == 0 or not math.isfinite(error):
        return 1.0
    ratios = _resampled_ratios(bits, a.num_bytes, seed, num_resamples)
    beyond = int((ratios <= 0).sum() if value > 0 else (ratios >= 0).sum())
    student = student_two_tails(value / error, a.num_records - 1) if error else 0.0
    return max(min(1.0, 2 * (beyond + 1) / (len(ratios) + 1)), student)


def smallest_visible_difference(
    a: Likelihoods, b: Likelihoods, confidence: float = 0.95, power: float = 0.8
) -> float:
    """The true difference in bits per byte that these records would show with that power.

    (t_{1 - alpha/2} + t_{power}) standard errors of the paired difference; Cohen (1988), chapter 2.
    Infinite for a single record.
    """
    bits = _bit_differences(a, b)
    error = ratio_error(bits, a.num_bytes)
    freedom = a.num_records - 1
    tails = student_quantile((1 + confidence) / 2, freedom) + student_quantile(power, freedom)
    return tails * error if math.isfinite(tails) else math.inf


def _bit_differences(a: Likelihoods, b: Likelihoods) -> Floats:
    if not np.array_equal(a.num_bytes, b.num_bytes):
        raise UsageError(
            f"likelihoods of {a.num_records} and {b.num_records} records whose bytes differ",
            "two models measured on the same records",
            "measure both on one set",
        )
    differences: Floats = (a.nll_nats - b.nll_nats) / math.log(2)
    return differences


def ratio_interval(
    over: Floats, under: NDArray[np.int64], confidence: float, seed: int, num_resamples: int
) -> Interval:
    """Interval of sum(over) / sum(under) over N records; see the head of this module."""
    if not 0.5 <= confidence < 1:
        raise UsageError(f"confidence {confidence}", "0.5 or more, below 1", "0.95 is usual")
    value = float(over.sum() / under.sum())
    if len(over) < 2:
        return Interval(value, -math.inf, math.inf)
    tail = (1 - confidence) / 2
    reach = student_quantile(1 - tail, len(over) - 1) * ratio_error(over, under)
    ratios = _resampled_ratios(over, under, seed, num_resamples)
    low = float(np.quantile(ratios, tail, method="lower"))
    high = float(np.quantile(ratios, 1 - tail, method="higher"))
    return Interval(value, min(low, value - reach), max(high, value + reach))


def ratio_error(over: Floats, under: NDArray[np.int64]) -> float:
    """Standard error of sum(over) / sum(under): residuals of each record from the ratio."""
    num = len(over)
    if num < 2:
        return math.inf
    residuals = over - over.sum() / under.sum() * under
    return math.sqrt(num / (num - 1) * float(residuals @ residuals)) / float(under.sum())


def _resampled_ratios(
    over: Floats, under: NDArray[np.int64], seed: int, num_resamples: int
) -> Floats:
    """sum(over) / sum(under) of num_resamples draws of N records with replacement."""
    random = np.random.default_rng(seed)
    num = len(over)
    chunk = max(1, _MAX_DRAWN // num)
    ratios = []
    for start in range(0, num_resamples, chunk):
        drawn = random.integers(0, num, size=(min(chunk, num_resamples - start), num))
        sums = under[drawn].sum(axis=1)
        usable = sums > 0  # a draw of nothing but empty records has no ratio
        ratios.append(over[drawn].sum(axis=1)[usable] / sums[usable])
    return np.concatenate(ratios)


@lru_cache(
    maxsize=256
)  # the bisection takes longer than a bootstrap, and many metrics ask the same
def student_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t at a probability of 0.5 or more; infinite without freedom.

    Up to 300 degrees of freedom the exact series (Abramowitz & Stegun 1964, 26.7.3 and 26.7.4)
    is inverted by bisection; beyond, the expansion around the normal (26.7.5).
    """
    if freedom < 1:
        return math.inf
    if freedom > 300:
        z = NormalDist().inv_cdf(probability)
        first = (z**3 + z) / 4
        second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
        return z + first / freedom + second / freedom**2
    low, high = 0.0, math.pi / 2
    for _ in range(100):
        middle = (low + high) / 2
        if (1 + _within(middle, freedom)) / 2 < probability:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan(low)


def student_two_tails(quantile: float, freedom: int) -> float:
    """P(|t| >= |quantile|) of Student's t; 1 without freedom."""
    if freedom < 1:
        return 1.0
    return max(0.0, 1 - _within(math.atan(abs(quantile) / math.sqrt(freedom)), freedom))


def _within(angle: float, freedom: int) -> float:
    """P(|t| <= sqrt(freedom) tan(angle)), by the finite series for odd or even freedom."""
    sine, cosine = math.sin(angle), math.cos(angle)
    first = freedom % 2  # 1: terms cos, 2/3 cos^3, …; 0: terms 1, 1/2 cos^2, …
    term = cosine if first else 1.0
    total = 0.0
    for power in range(first, freedom - 1, 2):
        total += term
        term *= cosine * cosine * (power + 1) / (power + 2)
    if first:
        return 2 / math.pi * (angle + sine * total)
    return sine * total
