"""TF-IDF with a logistic regression for each label: the baseline where a text has many labels.

In: texts with any number of labels each. Out: a labeller whose answers need numpy alone; training
needs the extra `eval` (scikit-learn). This module knows neither records nor tokenizers.
Legend: B texts, F features, N labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from noria.baselines.labels import number_many_labels
from noria.baselines.logistic import fit_many
from noria.baselines.tfidf import (
    TfidfClassifier,
    TfidfPlan,
    feature_matrix,
    learn_features,
    load_tfidf,
)


@dataclass(frozen=True, eq=False)
class TfidfLabeller:
    """sigmoid(features · weights + biases): the same parts as a classifier's, otherwise read."""

    parts: TfidfClassifier

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels' names, in the order of the columns of `label_probabilities`."""
        return self.parts.labels

    @property
    def weight_hash(self) -> str:
        """SHA-256 (hex) of all it holds."""
        return self.parts.weight_hash

    def label_probabilities(self, texts: Sequence[str]) -> Float64[np.ndarray, "B N"]:
        """P(the text has the label); a text without any feature is judged by biases."""
        return np.asarray(0.5 * (1 + np.tanh(0.5 * self.parts.scores(texts))))  # a sigmoid

    def save(self, folder: Path) -> None:
        """Write what a classifier writes into an existing folder."""
        self.parts.save(folder)


def train_tfidf_many(
    texts: Sequence[str], labels: Sequence[tuple[str, ...]], plan: TfidfPlan | None = None
) -> TfidfLabeller:
    """Learn which features speak for each label, one logistic regression a label.

    Raises MissingExtra without scikit-learn, UsageError unless there are labels for each text, one
    label at least, and the texts have a feature in common.
    """
    plan = plan or TfidfPlan()
    names, numbers = number_many_labels(texts, labels)
    features = learn_features(texts, len(names), plan)
    matrix = feature_matrix(texts, features)
    weights, biases = fit_many(matrix, numbers, len(names), plan.inverse_penalty)
    return TfidfLabeller(TfidfClassifier(names, features, weights, biases))


def load_tfidf_many(folder: Path) -> TfidfLabeller:
    """Read a labeller back. Raises FormatError if a file is missing, cut or of another shape."""
    return TfidfLabeller(load_tfidf(folder))
