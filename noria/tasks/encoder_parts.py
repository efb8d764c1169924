"""What every trained encoder of an application is made of, and its folder.

In: a folder. Out: a model under its head, its vocabulary, and what the head's columns are called.
This module does not know what is asked of them, nor how an encoder is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from noria.errors import FormatError
from noria.model.headed import HeadedModel
from noria.model.labels import HeadLabels, read_labels, write_labels
from noria.model.weights import model_weight_hash, save_model
from noria.tasks.encoder_rows import scored_rows
from noria.tokenizer.for_encoders import EncoderTokenizer

TokenizerT = TypeVar("TokenizerT", bound=EncoderTokenizer)
# Rows of ids -> numbers of some of the rows with their scores in float64, until all have come.
ReadRows = Callable[[Sequence[Sequence[int]]], Iterator[tuple[NDArray[np.int64], Tensor]]]


@dataclass(frozen=True, eq=False)
class EncoderParts(Generic[TokenizerT]):
    """A model under its head, its vocabulary, and the names of what it says.

    served_by: what reads rows in place of the model itself: an engine that reads those of many
    requests together.
    """

    model: HeadedModel
    tokenizer: TokenizerT
    head_labels: HeadLabels
    served_by: ReadRows | None = field(default=None, kw_only=True)

    def read_rows(
        self, rows: Sequence[Sequence[int]]
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """What the head says of rows, whoever reads them."""
        if self.served_by is not None:
            return self.served_by(rows)
        return scored_rows(self.model, self.tokenizer.pad_id, rows)

    def serving(self, reader: ReadRows) -> Self:
        """The same, with its rows read by another."""
        return replace(self, served_by=reader)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of classes, labels or tags, in the order of the columns of what is said."""
        return self.head_labels.names

    @cached_property
    def weight_hash(self) -> str:
        """The hash of its tensors."""
        return model_weight_hash(self.model)

    def save(self, folder: Path) -> None:
        """Write it into an existing folder."""
        save_model(folder, self.model)
        self.tokenizer.save(folder)
        write_labels(folder, self.head_labels)


def labels_for(
    folder: Path, model: HeadedModel, tokenizer: EncoderTokenizer, head_kind: str
) -> HeadLabels:
    """The labels of a folder whose head is of this kind.

    Raises InputError if they are missing, FormatError for another head, a vocabulary that is larger
    than the model's, or labels that are not what they should be.
    """
    if model.head_config.kind != head_kind or tokenizer.vocab_size > model.config.vocab_size:
        raise FormatError(
            f"{folder}: a head of kind {model.head_config.kind!r} and a vocabulary of "
            f"{tokenizer.vocab_size} for a model of {model.config.vocab_size} ids",
            f"a head of kind {head_kind!r} and a vocabulary no larger than the model's",
            "keep a model's files together, or train it again",
        )
    return read_labels(folder, model.head_config.num_classes, model.config.context_tokens)
