"""TF-IDF with logistic regression: the classifier that a Transformer has to beat.

In: texts with one label each. Out: a classifier whose answers need numpy alone, and the extra
`data` where words are by dictionary; training needs the extra `eval` (scikit-learn).
This module knows neither records nor tokenizers.
Legend: B texts, F features, N classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from noria.baselines.folders import arrays_hash, read_array, read_facts, reading, write_folder
from noria.baselines.labels import number_labels
from noria.baselines.logistic import fit_one, most_features
from noria.baselines.text_features import WORDS_BY, TextFeatures, learn_text_features
from noria.errors import MissingExtra, UsageError

TFIDF_FORMAT = 1


@dataclass(frozen=True)
class TfidfPlan:
    """Which features count and how freely they are weighted.

    Words in a row and characters in a row, from 1 to so many of each; a feature that fewer training
    texts have than `min_texts` is left out. `words_by` is "spaces", "dictionary" (Chinese words
    too; extra `data`), or "dictionary without stop words". `inverse_penalty` is logistic
    regression's C: the squares of the weights cost 1 / 2C; rows of length 1 want more freedom than
    the usual 1.
    """

    max_words: int = 2
    max_characters: int = 4
    words_by: str = "spaces"
    min_texts: int = 2
    inverse_penalty: float = 10.0

    def __post_init__(self) -> None:
        for name in ("max_words", "max_characters", "min_texts"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} = {getattr(self, name)}", "1 or more", "change the plan")
        if self.words_by not in WORDS_BY:
            raise UsageError(f"words_by = {self.words_by!r}", f"one of {', '.join(WORDS_BY)}")


@dataclass(frozen=True, eq=False)
class TfidfClassifier:
    """softmax(features · weights + biases): `weights` (F, N), `biases` (N,)."""

    labels: tuple[str, ...]
    features: TextFeatures
    weights: NDArray[np.float32]
    biases: NDArray[np.float32]

    @property
    def weight_hash(self) -> str:
        """SHA-256 (hex) of all it holds."""
        return arrays_hash(*self._contents())

    def probabilities(self, texts: Sequence[str]) -> Float64[np.ndarray, "B N"]:
        """P(class | text), a row for each text; a text without any feature is judged by biases."""
        scores = self.scores(texts)
        np.exp(scores - scores.max(axis=1, keepdims=True), out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores

    def scores(self, texts: Sequence[str]) -> Float64[np.ndarray, "B N"]:
        """features · weights + biases, a row for each text."""
        scores = np.empty((len(texts), len(self.labels)))
        for index, text in enumerate(texts):
            at, weights = self.features.row(text)
            scores[index] = weights @ self.weights[at] + self.biases
        return scores

    def save(self, folder: Path) -> None:
        """Write tfidf.json and three npy files into an existing folder."""
        write_folder(folder, "tfidf", TFIDF_FORMAT, *self._contents())

    def _contents(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        features = self.features
        facts: dict[str, Any] = {
            "labels": self.labels,
            "max_words": features.max_words,
            "max_characters": features.max_characters,
            "words": features.words,
            "pieces": features.pieces,
        }
        if features.words_by != "spaces":  # came later: the others keep their hash
            facts["words_by"] = features.words_by
        return facts, {"idf": features.idf, "weights": self.weights, "biases": self.biases}


def train_tfidf(
    texts: Sequence[str], labels: Sequence[str], plan: TfidfPlan | None = None
) -> TfidfClassifier:
    """Learn which features speak for which class, by logistic regression over all classes at once.

    Raises MissingExtra without scikit-learn, UsageError unless each text has a label, there are two
    classes at least, and the texts have a feature in common.
    """
    plan = plan or TfidfPlan()
    names, numbers = number_labels(texts, labels)
    features = learn_features(texts, len(names), plan)
    matrix = feature_matrix(texts, features)
    weights, biases = fit_one(matrix, numbers, len(names), plan.inverse_penalty)
    return TfidfClassifier(names, features, weights, biases)


def learn_features(texts: Sequence[str], num_classes: int, plan: TfidfPlan) -> TextFeatures:
    """The features of texts that count, no more than can be weighted for so many classes.

    Where there are more, those of fewer texts are left out. Raises UsageError if there is none.
    """
    min_texts, most = plan.min_texts, most_features(len(texts), num_classes)
    while True:
        features = learn_text_features(
            texts, plan.max_words, plan.max_characters, plan.words_by, min_texts
        )
        if not len(features.idf):
            raise UsageError(
                f"no word and no character that {min_texts} texts have", "one", "add texts"
            )
        if len(features.idf) <= most:
            return features
        min_texts *= 2


def feature_matrix(texts: Sequence[str], features: TextFeatures) -> Any:
    """The rows of texts as scipy's sparse matrix (B, F). Raises MissingExtra without scipy."""
    try:
        from scipy.sparse import csr_matrix
    except ImportError as error:
        raise MissingExtra("scikit-learn, which fits logistic regression,", "eval") from error
    rows = [features.row(text) for text in texts]
    ends = np.cumsum([0, *(len(at) for at, _ in rows)])
    at, weights = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    return csr_matrix((weights, at, ends), shape=(len(texts), len(features.idf)))


def load_tfidf(folder: Path) -> TfidfClassifier:
    """Read a classifier back. Raises FormatError if a file is missing, cut or of another shape."""
    with reading(folder, "a TF-IDF classifier"):
        facts = read_facts(folder, "tfidf", TFIDF_FORMAT)
        labels, words, pieces = (tuple(facts[name]) for name in ("labels", "words", "pieces"))
        idf = read_array(folder, "idf", "float64")
        weights = read_array(folder, "weights", "float32", 2)
        biases = read_array(folder, "biases", "float32")
        shape = (len(words) + len(pieces), len(labels))
        if weights.shape != shape or idf.shape != shape[:1] or biases.shape != shape[1:]:
            raise ValueError("arrays of other lengths than the names")
        sizes = int(facts["max_words"]), int(facts["max_characters"])
        words_by = str(facts.get("words_by", "spaces"))
        if words_by not in WORDS_BY:
            raise ValueError(f"words by {words_by!r}")
        features = TextFeatures(*sizes, words_by, words, pieces, idf)
        return TfidfClassifier(labels, features, weights, biases)
