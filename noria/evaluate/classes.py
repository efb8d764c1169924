"""What a classifier made of examples, as sums: one class a text, or any number of labels.

In: probabilities and gold classes. Out: Sums with every metric of classification by name, the
confusion matrix, and the bins of a reliability diagram. This module does not know how an answer
came about, and finds no interval itself.

A class that has no example and no answer does not count in a macro mean; a ratio without anything
below it is 0 inside a macro mean and not defined alone. So it is in scikit-learn, against which
`tests/parity/test_parity_metrics.py` holds every number here.
Legend: E examples, N classes, K sums, R resamples, B bins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from noria.errors import UsageError
from noria.evaluate.metrics import Floats
from noria.evaluate.sums import Metric, Sums, ratio, sparse_sums

NONE = -1  # as gold: none of the classes, out of scope; as an answer: abstained
NUM_BINS = 15  # of equal width, as in Guo et al. 2017, "On Calibration of Modern Neural Networks"
Mask = NDArray[np.bool_]
Part = Callable[[Floats, Floats, Floats], Floats]  # of what was there, given, and rightly given


@dataclass(frozen=True, eq=False)
class Classified:
    """One class a text: `gold` (E,) places of labels or NONE, `probabilities` (E, N).

    Where the highest probability is below `threshold` the classifier abstains.
    """

    labels: tuple[str, ...]
    gold: NDArray[np.int64]
    probabilities: Floats
    threshold: float = 0.0

    def __post_init__(self) -> None:
        shape = (len(self.gold), len(self.labels))
        _require_probabilities(self.probabilities, shape)
        if not ((self.gold >= NONE) & (self.gold < len(self.labels))).all():
            raise UsageError("a gold class that no label names", "places of labels, or NONE")

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(E,) the likeliest class, or NONE below the threshold."""
        likeliest = self.probabilities.argmax(axis=1)
        return np.where(self.confidence >= self.threshold, likeliest, NONE)

    @property
    def confidence(self) -> Floats:
        """(E,) the highest probability."""
        found: Floats = self.probabilities.max(axis=1)
        return found

    def taken(self, mask: Mask) -> Classified:
        """The same of the examples where the mask says so."""
        return replace(self, gold=self.gold[mask], probabilities=self.probabilities[mask])


@dataclass(frozen=True, eq=False)
class MultiLabelled:
    """Any number of labels a text: `gold` (E, N), `probabilities` (E, N), each label by itself."""

    labels: tuple[str, ...]
    gold: Mask
    probabilities: Floats
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.gold.shape[1:] != (len(self.labels),):
            raise UsageError(f"gold of shape {self.gold.shape}", "a column for each label")
        _require_probabilities(self.probabilities, self.gold.shape)

    @property
    def predicted(self) -> Mask:
        """(E, N) which labels are given."""
        found: Mask = self.probabilities >= self.threshold
        return found

    def taken(self, mask: Mask) -> MultiLabelled:
        """The same of the examples where the mask says so."""
        return replace(self, gold=self.gold[mask], probabilities=self.probabilities[mask])


def _require_probabilities(probabilities: Floats, shape: tuple[int, ...]) -> None:
    if probabilities.shape != shape or not shape[0]:
        raise UsageError(
            f"probabilities of shape {probabilities.shape} for {shape}",
            "a row for each example, a column for each label, and one example at least",
        )
    if not ((probabilities >= 0) & (probabilities <= 1 + 1e-6)).all():
        raise UsageError("a probability that is none", "numbers from 0 to 1", "check the model")


def class_sums(answers: Classified, groups: Sequence[str] = ()) -> Sums:
    """Every metric of one class a text. Raises MissingExtra without scipy.

    accuracy: the right class, or rightly none. mcc: Matthews' coefficient for many classes
    (Gorodkin 2004), none being one of them. coverage: answered; risk: wrong among the answered.
    brier: over all classes (Brier 1950), from 0 to 2. calibration_error: of the highest probability
    (Guo et al. 2017). The last two, and in_scope_accuracy, leave out texts that are out of scope.
    """
    gold, predicted = answers.gold, answers.predicted
    num, num_classes = len(gold), len(answers.labels)
    places, right = np.arange(num), gold == predicted
    inside = gold != NONE
    columns = _Columns(num_classes)
    likeliest_right = answers.probabilities.argmax(axis=1) == gold
    misses = answers.probabilities.copy()
    misses[places[inside], gold[inside]] -= 1
    one_each = {
        columns.all: np.ones(num),
        columns.right: right,
        columns.answered: predicted != NONE,
        columns.answered_wrong: ~right & (predicted != NONE),
        columns.inside: inside,
        columns.inside_right: right & inside,
        columns.outside: ~inside,
        columns.outside_right: right & ~inside,
        columns.abstained: predicted == NONE,
        columns.brier: np.where(inside, (misses**2).sum(axis=1), 0.0),
    }
    entries = [
        (places[inside], gold[inside], np.ones(inside.sum())),
        *_hits(places, gold, predicted, num_classes),
        *((places, np.full(num, column), value) for column, value in one_each.items()),
        *_bin_entries(
            places[inside], answers.confidence[inside], likeliest_right[inside], columns.bins
        ),
    ]
    added = sparse_sums(num, columns.bins + 3 * NUM_BINS, entries)
    metrics = {**_class_metrics(columns), **count_metrics(answers.labels, shares=True)}
    return Sums(added, metrics, tuple(groups))


class _Columns:
    """Where the sums of one class a text stand; before them gold, given and right by class."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        first = 3 * num_classes
        self.all, self.right, self.answered, self.answered_wrong = range(first, first + 4)
        self.inside, self.inside_right, self.outside = range(first + 4, first + 7)
        self.outside_right, self.abstained, self.brier = range(first + 7, first + 10)
        self.bins = first + 10


def _hits(
    places: NDArray[np.int64],
    gold: NDArray[np.int64],
    predicted: NDArray[np.int64],
    num_classes: int,
) -> list[tuple[NDArray[np.int64], NDArray[np.int64], Floats]]:
    """Entries of what was given, and of what was rightly given, by class."""
    given = predicted != NONE
    right = given & (gold == predicted)
    return [
        (places[given], predicted[given] + num_classes, np.ones(given.sum())),
        (places[right], predicted[right] + 2 * num_classes, np.ones(right.sum())),
    ]


def _class_metrics(columns: _Columns) -> dict[str, Metric]:
    shares = {
        "accuracy": (columns.right, columns.all),
        "coverage": (columns.answered, columns.all),
        "in_scope_accuracy": (columns.inside_right, columns.inside),
        "out_of_scope_recall": (columns.outside_right, columns.outside),
        "out_of_scope_precision": (columns.outside_right, columns.abstained),
    }
    found = {name: share_metric(*pair) for name, pair in shares.items()}
    found["risk"] = share_metric(columns.answered_wrong, columns.answered, higher_is_better=False)
    found["mcc"] = Metric(partial(_mcc, columns), lowest=-1.0)
    found["brier"] = Metric(
        lambda sums: ratio(sums[columns.brier], sums[columns.inside]),
        highest=2.0,
        higher_is_better=False,
    )
    found["calibration_error"] = _calibration_error(columns.bins)
    return found


def share_metric(successes: int, trials: int, higher_is_better: bool = True) -> Metric:
    """A share of examples, each of which adds 0 or 1 to both sums."""
    return Metric(
        lambda sums: ratio(sums[successes], sums[trials]),
        higher_is_better=higher_is_better,
        share=(successes, trials),
    )


def _mcc(columns: _Columns, sums: Floats) -> Floats:
    """(c s - Σ t p) / √((s² - Σ p²)(s² - Σ t²)), Gorodkin 2004; 0 where nothing varies."""
    num = columns.num_classes
    total, right = sums[columns.all], sums[columns.right]
    gold = np.vstack([sums[:num], sums[columns.outside]])
    given = np.vstack([sums[num : 2 * num], sums[columns.abstained]])
    above = right * total - (gold * given).sum(axis=0)
    below = (total**2 - (given**2).sum(axis=0)) * (total**2 - (gold**2).sum(axis=0))
    return np.nan_to_num(ratio(above, np.sqrt(np.maximum(below, 0.0))))


def _bin_entries(
    places: NDArray[np.int64], confidence: Floats, right: NDArray[np.bool_], first: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64], Floats]]:
    """Entries of three sums a bin: how many, their confidence, how many were right."""
    bins = bin_of(confidence)
    values = (np.ones(len(bins)), confidence, right.astype(np.float64))
    return [(places, first + index * NUM_BINS + bins, one) for index, one in enumerate(values)]


def bin_of(confidence: Floats) -> NDArray[np.int64]:
    """The bin of each confidence; a bin holds its upper end, the first its lower end too."""
    found: NDArray[np.int64] = np.ceil(confidence * NUM_BINS).astype(np.int64) - 1
    return found.clip(0, NUM_BINS - 1)


def _calibration_error(first: int) -> Metric:
    def of(sums: Floats) -> Floats:
        count, confidence, right = (
            sums[first + index * NUM_BINS : first + (index + 1) * NUM_BINS] for index in range(3)
        )
        return ratio(np.abs(confidence - right).sum(axis=0), count.sum(axis=0))

    return Metric(of, higher_is_better=False, biased=True)


def label_sums(answers: MultiLabelled, groups: Sequence[str] = ()) -> Sums:
    """Every metric of any number of labels a text. Raises MissingExtra without scipy.

    exact_match: all labels right; hamming_loss: wrong decisions among all E·N; mcc: Matthews'
    coefficient of the decisions; brier and calibration_error: of each label's own probability.
    """
    gold, predicted = answers.gold, answers.predicted
    num, num_labels = gold.shape
    first = 3 * num_labels
    everything, exact, wrong, squares, bins = range(first, first + 5)
    rows, columns = np.divmod(np.arange(num * num_labels), num_labels)
    entries = [
        *(
            (*np.nonzero(block)[:1], np.nonzero(block)[1] + index * num_labels, block[block])
            for index, block in enumerate((gold, predicted, gold & predicted))
        ),
        (np.arange(num), np.full(num, everything), np.ones(num)),
        (np.arange(num), np.full(num, exact), (gold == predicted).all(axis=1)),
        (np.arange(num), np.full(num, wrong), (gold != predicted).sum(axis=1)),
        (np.arange(num), np.full(num, squares), ((answers.probabilities - gold) ** 2).sum(axis=1)),
        *_bin_entries(rows, answers.probabilities[rows, columns], gold[rows, columns], bins),
    ]
    metrics = {
        "exact_match": share_metric(exact, everything),
        "hamming_loss": _mean_cell(wrong, everything, num_labels),
        "brier": _mean_cell(squares, everything, num_labels),
        "mcc": Metric(partial(_cell_mcc, num_labels, everything), lowest=-1.0),
        "calibration_error": _calibration_error(bins),
        **count_metrics(answers.labels, shares=True),
    }
    return Sums(sparse_sums(num, bins + 3 * NUM_BINS, entries), metrics, tuple(groups))


def _mean_cell(above: int, everything: int, num_labels: int) -> Metric:
    return Metric(
        lambda sums: ratio(sums[above], sums[everything] * num_labels), higher_is_better=False
    )


def _cell_mcc(num_labels: int, everything: int, sums: Floats) -> Floats:
    """Matthews 1975 over all decisions, from what was there, given, and rightly given."""
    gold, given, right = (
        sums[index * num_labels : (index + 1) * num_labels].sum(axis=0) for index in range(3)
    )
    total = sums[everything] * num_labels
    below = gold * given * (total - gold) * (total - given)
    return np.nan_to_num(ratio(right * total - gold * given, np.sqrt(np.maximum(below, 0.0))))


def count_metrics(labels: Sequence[str], shares: bool) -> dict[str, Metric]:
    """Precision, recall and F1 from sums [there | given | rightly given] of N columns each.

    macro, micro, and `f1, LABEL` for each label. `shares`: an example adds at most 1 to a column,
    so that the precision and recall of one label are shares of examples.
    """
    num = len(labels)
    parts: dict[str, Part] = {
        "precision": lambda there, given, right: ratio(right, given),
        "recall": lambda there, given, right: ratio(right, there),
        "f1": lambda there, given, right: ratio(2 * right, there + given),
    }
    found = {}
    for name, part in parts.items():
        found[f"macro_{name}"] = Metric(partial(_macro, num, part))
        found[f"micro_{name}"] = Metric(partial(_micro, num, part))
    below = {"precision": num, "recall": 0}
    for index, label in enumerate(labels):
        for name, part in parts.items():
            share = (2 * num + index, below[name] + index) if shares and name in below else None
            found[f"{name}, {label}"] = Metric(partial(_one, num, index, part), share=share)
    return found


def _macro(num: int, part: Part, sums: Floats) -> Floats:
    there, given, right = sums[:num], sums[num : 2 * num], sums[2 * num : 3 * num]
    seen = (there + given) > 0
    return ratio(np.where(seen, np.nan_to_num(part(there, given, right)), 0.0).sum(0), seen.sum(0))


def _micro(num: int, part: Part, sums: Floats) -> Floats:
    return part(*(sums[index * num : (index + 1) * num].sum(axis=0) for index in range(3)))


def _one(num: int, index: int, part: Part, sums: Floats) -> Floats:
    return part(sums[index], sums[num + index], sums[2 * num + index])
