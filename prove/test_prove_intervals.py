"""Intervals of classification in thousands of simulations; the tests run a few dozen of each."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "evaluate"))

from simulated import covered, drawn

from noria.evaluate.classes import class_sums
from noria.evaluate.intervals import compare

NAMES = ("accuracy", "macro_f1", "micro_f1", "macro_recall", "mcc", "brier", "f1, fee")
NAMES += ("recall, fee", "precision, fee", "calibration_error")
TRIALS = 2_000


# 40 texts hold about four of the rarest class: no bootstrap makes an honest 95% of four
@pytest.mark.parametrize(("num", "least"), [(40, 0.88), (120, 0.935), (500, 0.935)])
def test_intervals_cover_the_truth_in_two_thousand_simulations(
    num: int, least: float, capsys: pytest.CaptureFixture[str]
) -> None:
    huge = class_sums(drawn(10**6, 1_000_000, 0.7))
    truth = {name: huge.value(name) for name in NAMES} | {"calibration_error": 0.0}
    found = covered(lambda seed: class_sums(drawn(seed, num, 0.7)), NAMES, truth, TRIALS)
    rates = {name: count / TRIALS for name, count in found.items()}
    with capsys.disabled():
        print(f"\n{num} texts:", {name: round(rate, 3) for name, rate in rates.items()})
    assert all(rate >= least for rate in rates.values()), rates


def test_of_two_thousand_equal_pairs_a_twentieth_at_most_differ(
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrong = dict.fromkeys(NAMES, 0)
    for trial in range(TRIALS):
        pair = [
            class_sums(drawn(trial + side * 9_999, 200, 0.6, gold_seed=trial)) for side in (0, 1)
        ]
        found = compare(pair[:1], pair[1:], seed=trial, num_resamples=300)
        for name in NAMES:
            wrong[name] += name in found and found[name].better != 0
    rates = {name: count / TRIALS for name, count in wrong.items()}
    with capsys.disabled():
        print("\nequal pairs called different:", rates)
    assert all(rate <= 0.06 for rate in rates.values()), rates
