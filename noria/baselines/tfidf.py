"""TF-IDF with logistic regression: the classifier that a Transformer has to beat.

In: texts with one label each, or with any number. Out: a classifier whose answers need numpy alone,
and the extra `data` where words are by dictionary; training needs the extra `eval` (scikit-learn).
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
from noria.baselines.text_features import WORDS_BY, TextFeatures, learn_text_features
from noria.errors import MissingExtra, UsageError

TFIDF_FORMAT = 1
CLASSIFIER, LABELLER = "tfidf", "tfidf_labels"  # names of their JSON files


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
        return arrays_hash(*self.contents())

    def probabilities(self, texts: Sequence[str]) -> Float64[np.ndarray, "B N"]:
        """P(class | text), a row for each text; a text without any feature is judged by biases."""
        scores = self.scores(texts)
        np.exp(scores - scores.max(axis=1, keepdims=True), out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores

    def scores(self, texts: Sequence[str]) -> Float64[np.ndarray, "B N"]:
        """What the features of each text say for each label, before any norm."""
        scores = np.empty((len(texts), len(self.labels)))
        for index, text in enumerate(texts):
            at, weights = self.features.row(text)
            scores[index] = weights @ self.weights[at] + self.biases
        return scores

    def save(self, folder: Path) -> None:
        """Write tfidf.json and three npy files into an existing folder."""
        write_folder(folder, CLASSIFIER, TFIDF_FORMAT, *self.contents())

    def contents(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Its facts and its arrays, as they are stored."""
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


@dataclass(frozen=True, eq=False)
class TfidfLabeller:
    """Any number of labels a text: a sigmoid over each label's own logistic regression."""

    regressions: TfidfClassifier

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels' names, in the order of the columns of `label_probabilities`."""
        return self.regressions.labels

    @property
    def weight_hash(self) -> str:
        """SHA-256 (hex) of all it holds."""
        facts, arrays = self.regressions.contents()
        return arrays_hash({**facts, "many": True}, arrays)

    def label_probabilities(self, texts: Sequence[str]) -> Float64[np.ndarray, "B N"]:
        """P(the text has the label), a row for each text; each label by itself."""
        return np.asarray(1.0 / (1.0 + np.exp(-self.regressions.scores(texts))))

    def save(self, folder: Path) -> None:
        """Write tfidf_labels.json and three npy files into an existing folder."""
        write_folder(folder, LABELLER, TFIDF_FORMAT, *self.regressions.contents())


def train_tfidf(
    texts: Sequence[str], labels: Sequence[str], plan: TfidfPlan | None = None
) -> TfidfClassifier:
    """Learn which features speak for which class, by logistic regression over all classes at once.

    Raises MissingExtra without scikit-learn, UsageError unless each text has a label, there are two
    classes at least, and the texts have a feature in common.
    """
    plan = plan or TfidfPlan()
    names, numbers = number_labels(texts, labels)
    features = _features(texts, plan)
    coefficients, biases = _fit(_matrix(texts, features), numbers, plan)
    if len(names) == 2:  # two classes have one row: that of the second, the first being 0
        coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
        biases = np.concatenate([np.zeros_like(biases), biases])
    weights = np.ascontiguousarray(coefficients.T, dtype=np.float32)
    return TfidfClassifier(names, features, weights, biases.astype(np.float32))


def train_tfidf_labels(
    texts: Sequence[str], labels: Sequence[Sequence[str]], plan: TfidfPlan | None = None
) -> TfidfLabeller:
    """Where a text may have any number of labels: one logistic regression for each of them.

    Raises as `train_tfidf` does. A label that all texts or none have is judged by its share alone.
    """
    plan = plan or TfidfPlan()
    if len(texts) != len(labels):
        raise UsageError(f"{len(texts)} texts and {len(labels)} sets of labels", "one for each")
    names = tuple(sorted({label for one in labels for label in one}))
    if len(names) < 2:
        raise UsageError(f"{len(names)} labels", "two or more", "add texts of another label")
    features = _features(texts, plan)
    matrix = _matrix(texts, features)
    weights = np.zeros((len(features.idf), len(names)), dtype=np.float32)
    biases = np.zeros(len(names), dtype=np.float32)
    for column, name in enumerate(names):
        has = np.array([name in one for one in labels], dtype=np.int64)
        if 0 < has.sum() < len(has):
            coefficients, bias = _fit(matrix, has, plan)
            weights[:, column], biases[column] = coefficients[0], bias[0]
        else:  # nothing to tell apart; half a text of the other kind keeps the odds finite
            biases[column] = np.log((has.sum() + 0.5) / (len(has) - has.sum() + 0.5))
    return TfidfLabeller(TfidfClassifier(names, features, weights, biases))


def _features(texts: Sequence[str], plan: TfidfPlan) -> TextFeatures:
    features = learn_text_features(
        texts, plan.max_words, plan.max_characters, plan.words_by, plan.min_texts
    )
    if not len(features.idf):
        raise UsageError(
            f"no word and no character that {plan.min_texts} texts have", "one", "add texts"
        )
    return features


def _matrix(texts: Sequence[str], features: TextFeatures) -> Any:
    """The texts' features as a sparse matrix (B, F)."""
    try:
        from scipy.sparse import csr_matrix
    except ImportError as error:
        raise MissingExtra("scipy, which holds sparse matrices,", "eval") from error
    rows = [features.row(text) for text in texts]
    ends = np.cumsum([0, *(len(at) for at, _ in rows)])
    at, weights = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    return csr_matrix((weights, at, ends), shape=(len(texts), len(features.idf)))


def _fit(
    matrix: Any, numbers: NDArray[np.int64], plan: TfidfPlan
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coefficients (N, F) and biases (N,), or one row of each for two classes."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingExtra("scikit-learn, which fits logistic regression,", "eval") from error
    fitted = LogisticRegression(C=plan.inverse_penalty, max_iter=1000).fit(matrix, numbers)
    return fitted.coef_, fitted.intercept_


def load_tfidf(folder: Path) -> TfidfClassifier:
    """Read a classifier back. Raises FormatError if a file is missing, cut or of another shape."""
    with reading(folder, "a TF-IDF classifier"):
        return _read(folder, CLASSIFIER)


def load_tfidf_labels(folder: Path) -> TfidfLabeller:
    """Read a labeller back. Raises as `load_tfidf` does."""
    with reading(folder, "a TF-IDF labeller"):
        return TfidfLabeller(_read(folder, LABELLER))


def _read(folder: Path, kind: str) -> TfidfClassifier:
    facts = read_facts(folder, kind, TFIDF_FORMAT)
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
