"""Class names to numbers and back, for every classifier.

In: labels as people write them, or a classifier. Out: numbers, or the likeliest label of a text.
This module does not know how a classifier works.
Legend: B texts, N classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int64

from noria.baselines.interface import Classifier
from noria.errors import UsageError


def number_labels(
    texts: Sequence[str], labels: Sequence[str]
) -> tuple[tuple[str, ...], Int64[np.ndarray, " B"]]:
    """The different labels, sorted, and the place of each text's label among them.

    Raises UsageError unless each text has a label and there are two classes at least.
    """
    if len(texts) != len(labels):
        raise UsageError(
            f"{len(texts)} texts and {len(labels)} labels", "one for each", "check the data"
        )
    names = sorted(set(labels))
    if len(names) < 2:
        raise UsageError(f"{len(names)} classes", "two or more", "add texts of another class")
    places = {name: index for index, name in enumerate(names)}
    return tuple(names), np.array([places[label] for label in labels], dtype=np.int64)


def number_many_labels(
    texts: Sequence[str], labels: Sequence[tuple[str, ...]]
) -> tuple[tuple[str, ...], list[Int64[np.ndarray, " K"]]]:
    """The different labels, sorted, and the places of each text's labels among them.

    Raises UsageError unless there are labels for each text, and one label at least.
    """
    if len(texts) != len(labels):
        raise UsageError(
            f"{len(texts)} texts and labels for {len(labels)}", "some for each", "check the data"
        )
    names = sorted({label for some in labels for label in some})
    if not names:
        raise UsageError("texts without any label", "one label or more", "add labels")
    places = {name: index for index, name in enumerate(names)}
    numbers = [np.array(sorted({places[one] for one in some}), dtype=np.int64) for some in labels]
    return tuple(names), numbers


def likeliest_label(classifier: Classifier) -> Callable[[str], str]:
    """A function from a text to the label that the classifier thinks likeliest."""
    return lambda text: classifier.labels[int(classifier.probabilities([text])[0].argmax())]
