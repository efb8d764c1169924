"""One optimizer step's examples as tensors: a kind of batch for each kind of objective.

In: tensors. Out: values that can be moved to a device and cut into micro-batches, and that know
what the mean of their loss is a mean of. This module does not know where examples come from.
Legend: B rows, T tokens, S tokens of a source.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import ceil
from typing import Protocol, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from noria.model.masks import NO_ROWS, Rows

# Widths are multiples of this many tokens: a CPU's matrix library keeps code for every shape that
# it has seen, which over thousands of widths fills memory (docs/log.md).
WIDTH_STEP = 32


class Batch(Protocol):
    """What the trainer asks of a batch, whatever is in it."""

    @property
    def ids(self) -> Tensor:
        """Token ids, a row for each row. (B, T)."""
        ...

    @property
    def num_counted(self) -> int:
        """How many targets the mean loss is a mean of: tokens, rows or pairs."""
        ...

    @property
    def num_tokens(self) -> int:
        """Tokens that the model reads, padding included."""
        ...

    def to(self: BatchT, device: torch.device) -> BatchT:
        """The same batch on a device."""
        ...

    def split(self: BatchT, num_rows: int) -> list[BatchT]:
        """Micro-batches of at most that many rows; together they are the batch."""
        ...


BatchT = TypeVar("BatchT", bound=Batch)


@dataclass(frozen=True)
class TokenBatch:
    """Inputs, the target of each, and which targets count.

    lengths: how much of each row is no padding; None: all of it. documents: the number of each
    token's document, for rows packed of several that must not read each other. prefix_tokens: how
    much of each row is a prompt whose tokens read each other in both directions.
    """

    ids: Int[Tensor, "B T"]
    targets: Int[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]
    lengths: Int[Tensor, " B"] | None = None
    documents: Int[Tensor, "B T"] | None = None
    prefix_tokens: Int[Tensor, " B"] | None = None

    @property
    def num_counted(self) -> int:
        """Tokens that count as targets."""
        return int(self.mask.sum())

    @property
    def num_tokens(self) -> int:
        """Inputs, padding included."""
        return self.ids.numel()

    @property
    def real(self) -> Bool[Tensor, "B T"]:
        """False where a row is padded."""
        if self.lengths is None:
            return torch.ones_like(self.mask)
        places = torch.arange(self.ids.shape[1], device=self.ids.device)
        return places < self.lengths.to(self.ids.device)[:, None]

    def rows(self) -> Rows:
        """How a decoder reads these rows: padding at their ends is behind all that counts."""
        if self.documents is None and self.prefix_tokens is None:
            return NO_ROWS
        return Rows(documents=self.documents, prefix_tokens=self.prefix_tokens)

    def to(self, device: torch.device) -> TokenBatch:
        """The same batch on a device."""
        return _moved(self, device)

    def split(self, num_rows: int) -> list[TokenBatch]:
        """Micro-batches, each about as wide as its longest row."""
        parts = []
        for part in _cut(self, num_rows):
            width = part.ids.shape[1]
            if part.lengths is not None:
                width = min(width, ceil(int(part.lengths.max()) / WIDTH_STEP) * WIDTH_STEP)
            parts.append(
                TokenBatch(
                    part.ids[:, :width],
                    part.targets[:, :width],
                    part.mask[:, :width],
                    part.lengths,
                    None if part.documents is None else part.documents[:, :width],
                    part.prefix_tokens,
                )
            )
        return parts


def full_batch(num_rows: int, context_tokens: int) -> TokenBatch:
    """As large a batch as can come: every token real and counted."""
    ids = torch.zeros((num_rows, context_tokens), dtype=torch.int64)
    return TokenBatch(ids, ids, torch.ones_like(ids, dtype=torch.bool))


@dataclass(frozen=True)
class SourceBatch:
    """A source to read, and a target to say: inputs, targets and which of them count.

    source_real: false where a source is padded.
    """

    source_ids: Int[Tensor, "B S"]
    source_real: Bool[Tensor, "B S"]
    ids: Int[Tensor, "B T"]
    targets: Int[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]

    @property
    def num_counted(self) -> int:
        """Tokens of the targets that count."""
        return int(self.mask.sum())

    @property
    def num_tokens(self) -> int:
        """Tokens of sources and targets, padding included."""
        return self.source_ids.numel() + self.ids.numel()

    def to(self, device: torch.device) -> SourceBatch:
        """The same batch on a device."""
        return _moved(self, device)

    def split(self, num_rows: int) -> list[SourceBatch]:
        """Micro-batches of so many rows."""
        return _cut(self, num_rows)


@dataclass(frozen=True)
class LabelBatch:
    """Texts and their labels: a class for each row (B,), several of them as 0 and 1 (B, N), a class
    for each token (B, T), or first and last token of a span (B, 2).

    real: false where a row is padded. counted: which labels count, of the labels' shape or, where
    a label is several numbers, (B,).
    """

    ids: Int[Tensor, "B T"]
    real: Bool[Tensor, "B T"]
    labels: Tensor
    counted: Tensor

    @property
    def num_counted(self) -> int:
        """Labels that count."""
        return int(self.counted.sum())

    @property
    def num_tokens(self) -> int:
        """Tokens of the texts, padding included."""
        return self.ids.numel()

    def to(self, device: torch.device) -> LabelBatch:
        """The same batch on a device."""
        return _moved(self, device)

    def split(self, num_rows: int) -> list[LabelBatch]:
        """Micro-batches of so many rows."""
        return _cut(self, num_rows)


@dataclass(frozen=True)
class PreferenceBatch:
    """Answers that were judged, with what the reference model says of each.

    ids, targets, mask: a prompt and its answer a row; only the answer counts. reference: ln P of
    the answer by the model that training started from. For pairs, rows 2n and 2n + 1 are the chosen
    and the rejected answer; for thumbs they are an answer and another example's answer to the same
    prompt, and `liked` (one for each two rows) says what was thought of the first.
    """

    ids: Int[Tensor, "B T"]
    targets: Int[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]
    reference: Float[Tensor, " B"]
    liked: Bool[Tensor, " half_B"] | None = None

    @property
    def num_counted(self) -> int:
        """Pairs, or thumbs."""
        return len(self.ids) // 2

    @property
    def num_tokens(self) -> int:
        """Tokens of both, padding included."""
        return self.ids.numel()

    def to(self, device: torch.device) -> PreferenceBatch:
        """The same batch on a device."""
        return _moved(self, device)

    def split(self, num_rows: int) -> list[PreferenceBatch]:
        """Pairs stay together; thumbs are not cut, for all of them share one divergence."""
        if self.liked is not None:
            return [self]
        return _cut(self, max(2, num_rows // 2 * 2))


def _moved(batch: BatchT, device: torch.device) -> BatchT:
    values = {one.name: getattr(batch, one.name) for one in fields(batch)}  # type: ignore[arg-type]
    moved = {n: None if value is None else value.to(device) for n, value in values.items()}
    return type(batch)(**moved)


def _cut(batch: BatchT, num_rows: int) -> list[BatchT]:
    """Every tensor of the batch cut along its first dimension."""
    values = {one.name: getattr(batch, one.name) for one in fields(batch)}  # type: ignore[arg-type]
    num_all = len(values["ids"])
    return [
        type(batch)(
            **{
                name: None if value is None else value[start : start + num_rows]
                for name, value in values.items()
            }
        )
        for start in range(0, num_all, num_rows)
    ]
