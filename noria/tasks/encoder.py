"""A trained encoder with its vocabulary and labels: texts in, the probability of each label out.

A text longer than the window is read in several windows, spread evenly from its first token to its
last and eight at most, whose probabilities are averaged: a text of a megabyte costs no more than
eight windows. A text without any known piece is read as the marks alone.
This module does not know how an encoder is trained.
Legend: B texts or windows, T tokens, N classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor

from noria.model.weights import load_headed_model
from noria.tasks.encoder_parts import EncoderParts, TokenizerT, labels_for
from noria.tokenizer.for_encoders import EncoderTokenizer, load_encoder_tokenizer

MAX_WINDOWS = 8
READ_CHARACTERS = (
    1 << 16
)  # of a text's beginning, middle and end, where it is longer than all three


class EncoderClassifier(EncoderParts[EncoderTokenizer]):
    """One label for each text: softmax over the head's scores."""

    def probabilities(self, texts: Sequence[str]) -> Float64[np.ndarray, "B N"]:
        """P(class | text), a row for each text; a row sums to 1."""
        return _averaged(self, texts)


class EncoderLabeller(EncoderParts[EncoderTokenizer]):
    """Any number of labels for each text: a sigmoid for each of the head's scores."""

    def label_probabilities(self, texts: Sequence[str]) -> Float64[np.ndarray, "B N"]:
        """P(the text has the label), a row for each text; each label by itself."""
        return _averaged(self, texts)


def load_encoder_classifier(folder: Path) -> EncoderClassifier | EncoderLabeller:
    """Read what training wrote; one label a text, or many, as its labels say.

    Raises InputError if a file is missing, FormatError if one is not what it should be.
    """
    model, tokenizer = load_headed_model(folder), load_encoder_tokenizer(folder)
    labels = labels_for(folder, model, tokenizer, "sequence")
    return (EncoderLabeller if labels.many else EncoderClassifier)(model, tokenizer, labels)


def _averaged(
    parts: EncoderParts[EncoderTokenizer], texts: Sequence[str]
) -> Float64[np.ndarray, "B N"]:
    """The mean probabilities of each text's windows."""
    many = parts.head_labels.many
    return read_windows(parts, texts, torch.sigmoid if many else partial(torch.softmax, dim=-1))


def read_windows(
    parts: EncoderParts[TokenizerT], texts: Sequence[str], finish: Callable[[Tensor], Tensor]
) -> Float64[np.ndarray, "B N"]:
    """What a head says of each text: the mean of what `finish` makes of each window's scores."""
    rows, owners = text_windows(parts.tokenizer, texts, parts.head_labels.window_tokens)
    total: NDArray[np.float64] | None = None
    for numbers, scores in parts.read_rows(rows):
        found = finish(scores).numpy()
        total = np.zeros((len(texts), found.shape[1])) if total is None else total
        np.add.at(total, owners[numbers], found)
    if total is None:
        model = parts.model
        return np.zeros((0, model.head_config.num_classes or model.config.width))
    return np.asarray(total / np.bincount(owners, minlength=len(texts))[:, None])


def text_windows(
    tokenizer: EncoderTokenizer, texts: Sequence[str], window_tokens: int
) -> tuple[list[list[int]], NDArray[np.int64]]:
    """The windows of all texts, marks included, and the number of the text that each is of."""
    room = window_tokens - 2
    rows: list[list[int]] = []
    owners: list[int] = []
    for number, ids in enumerate(tokenizer.encode_batch([_shortened(text) for text in texts])):
        num_windows = min(MAX_WINDOWS, max(1, -(-len(ids) // room)))
        last = max(0, len(ids) - room)
        for start in np.linspace(0, last, num_windows).astype(int):
            window = ids[start : start + room]
            rows.append([tokenizer.begin_id, *window, tokenizer.end_id])
            owners.append(number)
    return rows, np.array(owners, dtype=np.int64)


def _shortened(text: str) -> str:
    """The beginning, middle and end of a text that is longer than these."""
    if len(text) <= 3 * READ_CHARACTERS:
        return text
    middle = (len(text) - READ_CHARACTERS) // 2
    parts = text[:READ_CHARACTERS], text[middle : middle + READ_CHARACTERS], text[-READ_CHARACTERS:]
    return " ".join(parts)
