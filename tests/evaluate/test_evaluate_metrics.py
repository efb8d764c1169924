from __future__ import annotations

import math

import numpy as np
import pytest

from noria.errors import UsageError
from noria.evaluate.compare import compare, sentence, signed, verdict_of
from noria.evaluate.metrics import (
    Interval,
    Likelihoods,
    bits_per_byte,
    paired_difference,
    smallest_visible_difference,
    student_quantile,
)


def measured(seed: int, num: int = 80, shift: float = 0.0, noise: float = 0.0) -> Likelihoods:
    """Records of one frozen set (the same bytes for every seed), with a shift in bits per byte."""
    frozen, random = np.random.default_rng(0), np.random.default_rng(seed)
    num_bytes = frozen.integers(60, 900, size=num)
    bits = num_bytes * (frozen.normal(1.9, 0.2, size=num) + shift)
    bits += num_bytes * random.normal(0.0, 1.0, size=num) * noise
    return Likelihoods(bits * math.log(2), num_bytes, int(num_bytes.sum() // 4))


def test_bits_per_byte_is_a_ratio_of_sums_in_bits() -> None:
    likelihoods = Likelihoods(np.array([8.0, 4.0]) * math.log(2), np.array([4, 2]), 3)
    interval = bits_per_byte(likelihoods)
    assert interval.value == pytest.approx(2.0)
    assert interval.low == pytest.approx(2.0)  # both records need exactly two bits a byte
    assert interval.high == pytest.approx(2.0)


def test_intervals_cover_the_true_value_as_often_as_they_say() -> None:
    random = np.random.default_rng(4)
    covered = 0
    for trial in range(300):
        num_bytes = random.integers(50, 500, size=25)
        nll = num_bytes * random.gamma(4.0, 0.5, size=25) * math.log(2)  # 2 bits a byte, skewed
        interval = bits_per_byte(Likelihoods(nll, num_bytes, 1), seed=trial, num_resamples=400)
        covered += interval.low <= 2.0 <= interval.high
    assert covered / 300 >= 0.93


def test_the_same_seed_gives_the_same_interval() -> None:
    a, b = measured(1, noise=0.05), measured(2, noise=0.05)
    assert paired_difference(a, b, seed=3) == paired_difference(a, b, seed=3)
    assert paired_difference(a, a) == Interval(0.0, 0.0, 0.0)


def test_paired_intervals_are_narrower_than_the_two_alone() -> None:
    a, b = measured(1, shift=0.02, noise=0.01), measured(2, noise=0.01)
    paired, alone = paired_difference(a, b), bits_per_byte(a)
    assert paired.high - paired.low < (alone.high - alone.low) / 3
    assert paired.low > 0


def test_a_higher_confidence_widens_the_interval_even_in_tails_no_resample_reaches() -> None:
    a, b = measured(1, noise=0.05), measured(2, noise=0.05)
    widths = [
        paired_difference(a, b, confidence, num_resamples=500)
        for confidence in (0.9, 0.99, 0.999999)
    ]
    sizes = [one.high - one.low for one in widths]
    assert sizes[0] < sizes[1] * 0.9 and sizes[1] < sizes[2] * 0.7


def test_a_single_record_has_no_interval() -> None:
    one = Likelihoods(np.array([3.0]), np.array([5]), 2)
    assert bits_per_byte(one).high == math.inf
    assert smallest_visible_difference(one, one) == math.inf


def test_different_records_are_refused() -> None:
    with pytest.raises(UsageError, match="same records"):
        paired_difference(measured(1, num=10), measured(1, num=11))
    with pytest.raises(UsageError, match="confidence"):
        paired_difference(measured(1), measured(2), confidence=1.0)
    with pytest.raises(UsageError, match="at least one byte"):
        Likelihoods(np.zeros(0), np.zeros(0, dtype=np.int64), 0)
    with pytest.raises(UsageError, match="not a number"):
        Likelihoods(np.array([math.nan]), np.array([1]), 1)


def test_the_smallest_visible_difference_is_seen_four_times_out_of_five() -> None:
    visible = smallest_visible_difference(measured(1, noise=0.05), measured(2, noise=0.05))
    seen = 0
    for trial in range(200):
        a = measured(10 + 2 * trial, shift=visible, noise=0.05)
        b = measured(11 + 2 * trial, noise=0.05)
        seen += compare(a, b, num_resamples=300).better == -1
    assert 0.68 <= seen / 200 <= 0.92


@pytest.mark.parametrize(
    ("probability", "freedom", "table"),
    [  # Abramowitz & Stegun (1964), table 26.10
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.975, 10, 2.228),
        (0.995, 5, 4.032),
        (0.9995, 30, 3.646),
        (0.975, 300, 1.968),
        (0.975, 301, 1.968),
        (0.5, 7, 0.0),
    ],
)
def test_students_quantiles_equal_the_tables(
    probability: float, freedom: int, table: float
) -> None:
    assert student_quantile(probability, freedom) == pytest.approx(table, abs=6e-4)


def test_the_verdict_follows_from_the_interval() -> None:
    assert verdict_of(Interval(-0.2, -0.3, -0.1)) == "better"
    assert verdict_of(Interval(0.2, 0.1, 0.3)) == "worse"
    assert verdict_of(Interval(0.0, 0.0, 0.0)) == "no difference seen"
    assert verdict_of(Interval(-0.2, -0.4, 0.0)) == "no difference seen"


def test_the_sentence_says_plainly_which_model_is_better() -> None:
    a, b = measured(1, shift=-0.2, noise=0.02), measured(2, noise=0.02)
    said = sentence("bits_per_byte", compare(a, b), "the model", "the n-gram model")
    assert said.startswith("the model is better than the n-gram model: ")
    assert "−0.2" in said
    said = sentence("bits_per_byte", compare(b, a), "the model", "the n-gram model")
    assert said.startswith("the model is worse than the n-gram model: ")
    said = sentence("bits_per_byte", compare(a, a), "one", "other")
    assert said.startswith("No difference was seen between one and other: ")
    assert "80 records would have shown one of 0.000" in said


def test_differences_are_written_with_their_sign() -> None:
    assert (signed(0.0421), signed(-0.5), signed(math.inf)) == ("+0.042", "−0.500", "+∞")
