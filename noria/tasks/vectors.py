"""A base's sentence vectors, frozen, under a logistic regression: classes from few labels.

In: the folder of an encoder, texts and labels. Out: a classifier that carries the encoder; training
needs the extra `eval` (scikit-learn), answers do not.
Legend: B texts, C width, N classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray

from noria.baselines.folders import arrays_hash, read_array, reading
from noria.baselines.labels import number_labels, number_many_labels
from noria.baselines.logistic import fit_many, fit_one
from noria.errors import FormatError, UsageError
from noria.model.headed import add_head
from noria.model.heads import HeadConfig
from noria.model.labels import HeadLabels, read_labels
from noria.model.transformer import Encoder
from noria.model.weights import load_headed_model, load_model, model_weight_hash
from noria.tasks.encoder import read_windows, text_windows
from noria.tasks.encoder_parts import EncoderParts
from noria.tokenizer.bert import BertTokenizer, load_bert_tokenizer

WINDOW_TOKENS = 256  # as the named base's sentence_bert_config.json says
# Vectors have length 1 and few columns: they want more freedom than counted words do.
INVERSE_PENALTY = 30.0
WEIGHTS, BIASES = "weights", "biases"


@dataclass(frozen=True, eq=False)
class VectorParts(EncoderParts[BertTokenizer]):
    """An encoder that gives vectors, and what weighs them: `weights` (C, N), `biases` (N,)."""

    weights: NDArray[np.float32]
    biases: NDArray[np.float32]

    @cached_property
    def weight_hash(self) -> str:
        """SHA-256 (hex) of the encoder's weights and of what weighs its vectors."""
        facts = {"encoder": model_weight_hash(self.model), "labels": list(self.labels)}
        return arrays_hash(facts, {WEIGHTS: self.weights, BIASES: self.biases})

    def vectors(self, texts: Sequence[str]) -> Float64[np.ndarray, "B C"]:
        """The encoder's vector of each text, of length 1."""
        return sentence_vectors(self, texts)

    def num_tokens(self, texts: Sequence[str]) -> int:
        """How many tokens `vectors` reads, marks included."""
        rows, _ = text_windows(self.tokenizer, texts, self.head_labels.window_tokens)
        return sum(map(len, rows))

    def scores(self, texts: Sequence[str]) -> Float64[np.ndarray, "B N"]:
        """vectors · weights + biases, a row for each text."""
        return self.vectors(texts) @ self.weights.astype(np.float64) + self.biases

    def save(self, folder: Path) -> None:
        """Write encoder, vocabulary, labels and two npy files into an existing folder."""
        super().save(folder)
        for name, array in ((WEIGHTS, self.weights), (BIASES, self.biases)):
            np.save(folder / f"{name}.npy", array, allow_pickle=False)


@dataclass(frozen=True, eq=False)
class VectorClassifier(VectorParts):
    """One label for each text: softmax over the scores."""

    def probabilities(self, texts: Sequence[str]) -> Float64[np.ndarray, "B N"]:
        """P(class | text), a row for each text; a row sums to 1."""
        scores = self.scores(texts)
        found = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(found / found.sum(axis=1, keepdims=True))


@dataclass(frozen=True, eq=False)
class VectorLabeller(VectorParts):
    """Any number of labels for each text: a sigmoid for each score."""

    def label_probabilities(self, texts: Sequence[str]) -> Float64[np.ndarray, "B N"]:
        """P(the text has the label), a row for each text."""
        return np.asarray(0.5 * (1 + np.tanh(0.5 * self.scores(texts))))


def train_vectors(
    base: Path, texts: Sequence[str], labels: Sequence[tuple[str, ...]], many: bool
) -> VectorClassifier | VectorLabeller:
    """Learn classes in the space of a base's sentence vectors; nothing in it is random.

    base: a folder with an encoder of ours and its tokenizer. Raises UsageError unless each text has
    its labels and there are two classes (with `many`, one label), FormatError for another base,
    MissingExtra without scikit-learn.
    """
    body, tokenizer = load_model(base), load_bert_tokenizer(base)
    if not isinstance(body, Encoder) or tokenizer.vocab_size > body.config.vocab_size:
        raise FormatError(
            f"{base}: a model of family {body.config.family!r}",
            "an encoder, and a tokenizer that fits it",
            "choose another base",
        )
    if any(len(one) != 1 for one in labels) and not many:
        raise UsageError("texts without exactly one label", "one for each", "declare many labels")
    names, numbers = number_many_labels(texts, labels)
    if not many:
        number_labels(texts, [one[0] for one in labels])  # refuses one class
    model = add_head(body, HeadConfig("vector"), seed=0)  # that head has no weights
    window = min(WINDOW_TOKENS, body.config.context_tokens)
    head_labels = HeadLabels(names, many, window)
    vectors = sentence_vectors(EncoderParts(model, tokenizer, head_labels), texts)
    fitted = (
        fit_many(vectors, numbers, len(names), INVERSE_PENALTY)
        if many
        else fit_one(vectors, np.concatenate(numbers), len(names), INVERSE_PENALTY)
    )
    return (VectorLabeller if many else VectorClassifier)(model, tokenizer, head_labels, *fitted)


def sentence_vectors(
    parts: EncoderParts[BertTokenizer], texts: Sequence[str]
) -> Float64[np.ndarray, "B C"]:
    """The vectors of texts, of length 1: the mean of a text's windows, where it has several."""
    found = read_windows(parts, texts, torch.clone)
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12))


def load_vectors(folder: Path) -> VectorClassifier | VectorLabeller:
    """Read one back. Raises InputError or FormatError if a file is missing or not one of it."""
    model, tokenizer = load_headed_model(folder), load_bert_tokenizer(folder)
    with reading(folder, "a classifier over sentence vectors"):
        weights = read_array(folder, WEIGHTS, "float32", 2)
        biases = read_array(folder, BIASES, "float32")
        if model.head_config.kind != "vector" or tokenizer.vocab_size > model.config.vocab_size:
            raise ValueError("its encoder gives no vectors, or not of this vocabulary")
        if weights.shape != (model.config.width, len(biases)):
            raise ValueError(f"weights of shape {weights.shape}")
    labels = read_labels(folder, len(biases), model.config.context_tokens)
    return (VectorLabeller if labels.many else VectorClassifier)(
        model, tokenizer, labels, weights, biases
    )
