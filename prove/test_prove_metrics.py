"""A thousand random cases of the comparisons of which the tests run two hundred."""

from __future__ import annotations

import sys
from pathlib import Path

import sklearn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "parity"))

from test_parity_metrics import NUM_CASES, check_confusion, check_labels


def test_confusion_and_many_labels_equal_scikit_learns_on_a_thousand_random_cases() -> None:
    with sklearn.config_context(skip_parameter_validation=True, assume_finite=True):
        for seed in range(NUM_CASES):
            check_confusion(seed)
            check_labels(seed)
