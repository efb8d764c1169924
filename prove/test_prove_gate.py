"""The gate's budget in twenty thousand reads of which the truth is known; the tests run a few."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "improve"))

from gate_lives import false_promotions, promoted_share

NUM_LIVES, NUM_TURNS = 200, 20


@pytest.mark.parametrize(
    ("num_records", "gains"),
    [
        (200, (0.0,)),
        (1000, (0.0,)),
        (1000, (-0.005,)),
        (1000, (0.06, 0.0)),
        (1500, (0.06, 0.06, 0.0)),
    ],
)
def test_a_life_of_twenty_reads_promotes_a_model_that_is_no_better_in_one_of_twenty_at_most(
    num_records: int, gains: tuple[float, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = false_promotions(NUM_LIVES, NUM_TURNS, num_records, gains, num_resamples=300)
    with capsys.disabled():
        print(f"\n{num_records} records, true gains {gains}: {wrong} of {NUM_LIVES} lives")
    assert wrong <= 0.05 * NUM_LIVES


@pytest.mark.parametrize("reads_before", [0, 4, 19])
def test_a_model_that_is_six_points_better_wins(
    reads_before: int, capsys: pytest.CaptureFixture[str]
) -> None:
    share = promoted_share(200, 1500, 0.06, reads_before)
    with capsys.disabled():
        print(f"\nread {reads_before + 1}: {share:.1%} of better models are promoted")
    assert share >= 0.9
