"""The gate's budget in 36,000 reads of which the truth is known; the tests run a few."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from scipy.stats import binom

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "improve"))

from gate_lives import false_promotions, promoted_share

NUM_TURNS = 20
ALPHA = 0.05


@pytest.mark.parametrize(
    ("num_lives", "num_records", "gains"),
    [
        (200, 200, (0.0,)),
        (200, 1000, (0.0,)),
        (200, 1000, (-0.005,)),
        (200, 1000, (0.06, 0.0)),
        (1000, 1500, (0.06, 0.06, 0.0)),  # 4.8% are spent on models that are no better
    ],
)
def test_a_life_of_twenty_reads_promotes_a_model_that_is_no_better_in_one_of_twenty_at_most(
    num_lives: int,
    num_records: int,
    gains: tuple[float, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrong = false_promotions(num_lives, NUM_TURNS, num_records, gains, num_resamples=300)
    with capsys.disabled():
        print(f"\n{num_records} records, true gains {gains}: {wrong} of {num_lives} lives")
    assert wrong <= binom.ppf(0.95, num_lives, ALPHA)  # a true rate of 5% is above that by chance


@pytest.mark.parametrize("reads_before", [0, 4, 19])
def test_a_model_that_is_six_points_better_wins(
    reads_before: int, capsys: pytest.CaptureFixture[str]
) -> None:
    share = promoted_share(200, 1500, 0.06, reads_before)
    with capsys.disabled():
        print(f"\nread {reads_before + 1}: {share:.1%} of better models are promoted")
    assert share >= 0.9
