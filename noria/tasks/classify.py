"""Classify: a text in; one label, any number of labels, or an honest "none of them" out.

Topic, sentiment, intent, emotion: whatever the labels are. Probabilities are calibrated; below a
threshold, chosen from data, the model abstains. This module does not know how a part came about.
Legend: B texts, N labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from noria.baselines.interface import Classifier, Labeller
from noria.tasks.calibration import joined
from noria.tasks.declaration import Task, require_texts

CLASSIFY = Task(
    kind="classify",
    head="sequence",
    objectives=("one_class", "many_classes"),
    metrics=("accuracy", "micro_f1"),
    nouns="labels",
)
MAX_SHOWN = 10  # labels of an answer, with their probabilities; the likeliest


@dataclass(frozen=True)
class Labels:
    """The answer to one text.

    `labels`: one; none where the model abstains; any number where a text may have many.
    `probabilities`: of the likeliest labels, the highest first.
    """

    labels: tuple[str, ...]
    probabilities: dict[str, float]
    abstained: bool

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "labels": list(self.labels),
            "abstained": self.abstained,
            "probabilities": {name: round(one, 6) for name, one in self.probabilities.items()},
        }

    def as_text(self) -> str:
        """One line for a person."""
        likeliest = next(iter(self.probabilities.items()))
        if self.abstained:
            return f"(none of them)  likeliest: {likeliest[0]} {likeliest[1]:.1%}"
        return ", ".join(f"{one} {self.probabilities.get(one, 0.0):.1%}" for one in self.labels)


@dataclass(frozen=True, eq=False)
class TextClassifier:
    """Parts that answer together, and what makes of their probabilities an answer."""

    parts: tuple[Classifier | Labeller, ...]
    weights: tuple[float, ...]
    labels: tuple[str, ...]
    many: bool
    temperature: float
    threshold: float

    def probabilities(self, texts: Sequence[str]) -> Float64[np.ndarray, "B N"]:
        """P(label | text), calibrated; a row sums to 1 unless a text may have many labels."""
        found = [in_order(part, self.labels, texts) for part in self.parts]
        return joined(found, self.weights, self.temperature, self.many)

    def predict(self, texts: Sequence[str]) -> list[Labels]:
        """An answer to each text. Raises UsageError for an empty text."""
        require_texts(list(texts))
        return [self._answer(row) for row in self.probabilities(texts)]

    def _answer(self, row: Float64[np.ndarray, " N"]) -> Labels:
        order = np.argsort(-row, kind="stable")
        over = [int(place) for place in order if row[place] >= self.threshold]
        chosen = over if self.many else over[:1]
        num_shown = max(MAX_SHOWN, len(chosen))
        shown = {self.labels[place]: float(row[place]) for place in order[:num_shown]}
        labels = tuple(self.labels[place] for place in chosen)
        return Labels(labels, shown, abstained=not self.many and not chosen)


def in_order(
    part: Classifier | Labeller, labels: Sequence[str], texts: Sequence[str]
) -> Float64[np.ndarray, "B N"]:
    """A part's probabilities with a column for each of these labels; 0 for one it doesn't know."""
    if isinstance(part, Labeller):
        found = part.label_probabilities(texts)
    else:
        found = part.probabilities(texts)
    if tuple(labels) == part.labels:
        return found
    places = {name: place for place, name in enumerate(part.labels)}
    ordered = np.zeros((len(texts), len(labels)))
    for column, name in enumerate(labels):
        if name in places:
            ordered[:, column] = found[:, places[name]]
    return ordered
