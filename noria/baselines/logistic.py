"""Rows of numbers with their classes in, the weights of a linear classifier out.

Logistic regression by scikit-learn (extra `eval`): over all classes at once, or one for each label
that a row may have. Where the table of all rows by all classes would not fit into memory, the mean
row of each class stands for it (Rocchio 1971). This module does not know what a column means.
Legend: B rows, F features, N classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from noria.errors import MissingExtra

MOST_SCORES = 1 << 26  # rows times classes: 512 MB in the solver's float64, which it holds thrice
MOST_WEIGHTS = 1 << 24  # features times classes: the solver remembers twenty such tables
MOST_MEANS = 1 << 26  # the same where there is no solver
MEAN_SCALE = 20.0  # of a cosine, to make it a score (Reimers & Gurevych 2019's program takes 20)
MAX_ITERATIONS = 1000

Weights = tuple[Float32[np.ndarray, "F N"], Float32[np.ndarray, " N"]]


def most_features(num_rows: int, num_classes: int) -> int:
    """How many columns can be weighted for so many classes."""
    most = MOST_MEANS if _too_many(num_rows, num_classes) else MOST_WEIGHTS
    return max(1, most // num_classes)


def _too_many(num_rows: int, num_classes: int) -> bool:
    return num_rows * num_classes > MOST_SCORES


def fit_one(
    matrix: Any, numbers: NDArray[np.int64], num_classes: int, inverse_penalty: float
) -> Weights:
    """Weights and biases whose softmax gives each row its class; each class has a row.

    matrix: (B, F), dense or scipy's. inverse_penalty: C, where the squares of the weights cost
    1 / 2C. Raises MissingExtra without scikit-learn.
    """
    if _too_many(len(numbers), num_classes):
        return _means(matrix, numbers, num_classes)
    fitted = _regression(inverse_penalty).fit(matrix, numbers)
    coefficients, biases = fitted.coef_, fitted.intercept_
    if num_classes == 2:  # two classes have one row: that of the second, the first being 0
        coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
        biases = np.concatenate([np.zeros_like(biases), biases])
    return np.ascontiguousarray(coefficients.T, dtype=np.float32), biases.astype(np.float32)


def fit_many(
    matrix: Any, numbers: Sequence[NDArray[np.int64]], num_classes: int, inverse_penalty: float
) -> Weights:
    """Weights and biases whose sigmoid says whether a row has each label, one label at a time.

    numbers: those of each row's labels. A label that every row has is given by its bias alone.
    """
    weights = np.zeros((matrix.shape[1], num_classes), dtype=np.float32)
    biases = np.zeros(num_classes, dtype=np.float32)
    having = _having(numbers, num_classes)
    for label, rows in enumerate(having):
        if len(rows) == len(numbers):
            biases[label] = np.log(2 * len(rows) + 1)  # as if half a row were without it
            continue
        holds = np.zeros(len(numbers), dtype=np.int64)
        holds[rows] = 1
        fitted = _regression(inverse_penalty).fit(matrix, holds)
        weights[:, label], biases[label] = fitted.coef_[0], fitted.intercept_[0]
    return weights, biases


def _having(numbers: Sequence[NDArray[np.int64]], num_classes: int) -> list[list[int]]:
    """The rows that have each label."""
    found: list[list[int]] = [[] for _ in range(num_classes)]
    for row, labels in enumerate(numbers):
        for label in labels:
            found[label].append(row)
    return found


def _regression(inverse_penalty: float) -> Any:
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingExtra("scikit-learn, which fits logistic regression,", "eval") from error
    return LogisticRegression(C=inverse_penalty, max_iter=MAX_ITERATIONS)


def _means(matrix: Any, numbers: NDArray[np.int64], num_classes: int) -> Weights:
    """Each class's mean row, made as long as MEAN_SCALE."""
    try:
        from scipy.sparse import csr_matrix
    except ImportError as error:
        raise MissingExtra("scipy, which adds sparse rows up,", "eval") from error
    places = np.arange(len(numbers))
    belongs = csr_matrix((np.ones(len(numbers)), (numbers, places)), (num_classes, len(numbers)))
    sums = belongs @ matrix  # (N, F)
    sums = np.asarray(sums.toarray() if hasattr(sums, "toarray") else sums, dtype=np.float32)
    sums *= MEAN_SCALE / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return np.ascontiguousarray(sums.T), np.zeros(num_classes, dtype=np.float32)
