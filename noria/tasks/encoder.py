"""A trained encoder with its vocabulary and labels: texts in, the probability of each label out.

A text longer than the window is read in several windows, spread evenly from its first token to its
last and eight at most, whose probabilities are averaged: a text of a megabyte costs no more than
eight windows. A text without any known piece is read as the marks alone.
This module does not know how an encoder is trained.
Legend: B texts or windows, T tokens, N classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor

from noria.model.headed import HeadedModel
from noria.model.labels import HeadLabels
from noria.model.weights import load_headed_model
from noria.tasks.encoder_parts import EncoderParts, labels_for
from noria.tokenizer.for_encoders import EncoderTokenizer, load_encoder_tokenizer

MAX_WINDOWS = 8
BATCH_TOKENS = 4096
READ_CHARACTERS = (
    1 << 16
)  # of a text's beginning, middle and end, where it is longer than all three
WIDTH_STEP = 8


class EncoderClassifier(EncoderParts[EncoderTokenizer]):
    """One label for each text: softmax over the head's scores."""

    def probabilities(self, texts: Sequence[str]) -> Float64[np.ndarray, "B N"]:
        """P(class | text), a row for each text; a row sums to 1."""
        return _averaged(self.model, self.tokenizer, self.head_labels, texts)


class EncoderLabeller(EncoderParts[EncoderTokenizer]):
    """Any number of labels for each text: a sigmoid for each of the head's scores."""

    def label_probabilities(self, texts: Sequence[str]) -> Float64[np.ndarray, "B N"]:
        """P(the text has the label), a row for each text; each label by itself."""
        return _averaged(self.model, self.tokenizer, self.head_labels, texts)


def load_encoder_classifier(folder: Path) -> EncoderClassifier | EncoderLabeller:
    """Read what training wrote; one label a text, or many, as its labels say.

    Raises InputError if a file is missing, FormatError if one is not what it should be.
    """
    model, tokenizer = load_headed_model(folder), load_encoder_tokenizer(folder)
    labels = labels_for(folder, model, tokenizer, "sequence")
    return (EncoderLabeller if labels.many else EncoderClassifier)(model, tokenizer, labels)


def _averaged(
    model: HeadedModel, tokenizer: EncoderTokenizer, labels: HeadLabels, texts: Sequence[str]
) -> Float64[np.ndarray, "B N"]:
    """The mean probabilities of each text's windows."""
    as_probabilities = torch.sigmoid if labels.many else partial(torch.softmax, dim=-1)
    return read_windows(model, tokenizer, labels.window_tokens, texts, as_probabilities)


def read_windows(
    model: HeadedModel,
    tokenizer: EncoderTokenizer,
    window_tokens: int,
    texts: Sequence[str],
    finish: Callable[[Tensor], Tensor],
) -> Float64[np.ndarray, "B N"]:
    """What a head says of each text: the mean of what `finish` makes of each window's scores."""
    rows, owners = text_windows(tokenizer, texts, window_tokens)
    total: NDArray[np.float64] | None = None
    for numbers, scores in scored_rows(model, tokenizer.pad_id, rows):
        found = finish(scores).numpy()
        total = np.zeros((len(texts), found.shape[1])) if total is None else total
        np.add.at(total, owners[numbers], found)
    if total is None:
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


def scored_rows(
    model: HeadedModel, pad_id: int, rows: Sequence[Sequence[int]]
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Scores (B, N) in float64 with the numbers of their rows, those of like length together."""
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    while order:
        longest = len(rows[order[-1]])
        taken = order[-max(1, BATCH_TOKENS // longest) :]
        del order[-len(taken) :]
        width = min(
            -(-longest // WIDTH_STEP) * WIDTH_STEP, max(longest, model.config.context_tokens)
        )
        ids = torch.full((len(taken), width), pad_id)
        real = torch.zeros(len(taken), width, dtype=torch.bool)
        for at, number in enumerate(taken):
            ids[at, : len(rows[number])] = torch.tensor(rows[number])
            real[at, : len(rows[number])] = True
        with torch.inference_mode():
            yield np.array(taken), model(ids, real).double()
