"""Rows of token ids with what is asked of them in, batches for the trainer out.

Rows of like length share a batch, so that little is padding; a batch is a function of its step's
number and a seed. This module does not know texts, labels' names or models.
Legend: B rows, T tokens, N classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noria.train.batch import LabelBatch, TokenBatch
from noria.train.objectives.corruption import mask_tokens

# Few widths, for the reason given at batch.WIDTH_STEP; short rows would be mostly padding at 32.
ROW_STEP = 8
SORTED_BATCHES = 16  # in a row, among which rows change places by their length
MAX_SHOWN = 4
Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Framing:
    """What stands around a row and in the place of what is hidden; the longest row (T)."""

    begin_id: int
    end_id: int
    pad_id: int
    mask_id: int
    window_tokens: int


@final
class RowOrder:
    """Which rows each step sees: all of them once a pass, those of like length together."""

    def __init__(self, num_tokens: Sequence[int], batch_rows: int, seed: int) -> None:
        self._num_tokens = np.asarray(num_tokens)
        self._batch_rows, self._seed = batch_rows, seed
        self.num_batches = -(-len(num_tokens) // batch_rows)
        self._passes: dict[int, list[Ids]] = {}

    def rows(self, step: int) -> Ids:
        """The numbers of the rows of a step (from 0)."""
        number, place = divmod(step, self.num_batches)
        batches = self._passes.get(number)  # read once: the next batch is made in another thread
        if batches is None:
            batches = self._batches(number)
            self._passes = {number: batches}
        return batches[place]

    def _batches(self, number: int) -> list[Ids]:
        random = np.random.default_rng([self._seed, number])
        order = random.permutation(len(self._num_tokens))
        size = SORTED_BATCHES * self._batch_rows
        found: list[Ids] = []
        for start in range(0, len(order), size):
            near = order[start : start + size]
            near = near[np.argsort(self._num_tokens[near], kind="stable")]
            found += [
                near[at : at + self._batch_rows] for at in range(0, len(near), self._batch_rows)
            ]
        return [found[at] for at in random.permutation(len(found))]


def framed(ids: Ids, framing: Framing, start: int) -> Ids:
    """A row's window from a token on, with the marks at both ends."""
    window = ids[start : start + framing.window_tokens - 2]
    return np.concatenate([[framing.begin_id], window, [framing.end_id]])


def padded(rows: Sequence[NDArray[Any]], value: int, limit: int) -> Tensor:
    """Rows as one tensor, a little wider than the longest, never wider than the limit. (B, T)."""
    longest = max(len(row) for row in rows)
    width = max(longest, min(-(-longest // ROW_STEP) * ROW_STEP, limit))
    found = np.full((len(rows), width), value, dtype=np.int64)
    for at, row in enumerate(rows):
        found[at, : len(row)] = row
    return torch.from_numpy(found)


def lengths(rows: Sequence[NDArray[Any]]) -> Tensor:
    """How many tokens each row has. (B,)."""
    return torch.tensor([len(row) for row in rows])


def is_real(num_tokens: Tensor, width: int) -> Tensor:
    """False behind each row's end. (B, T)."""
    return torch.arange(width) < num_tokens[:, None]


Drawn = tuple[list[Ids], Ids, np.random.Generator]


@dataclass(frozen=True, eq=False)
class Windows:
    """Rows, and which window of each a step reads: a long row shows another part each time."""

    rows: Sequence[Ids]
    order: RowOrder
    framing: Framing
    seed: int

    def draw(self, step: int) -> Drawn:
        """The framed rows of a step, their numbers, and the randomness for whatever follows."""
        chosen = self.order.rows(step)
        random = np.random.default_rng([self.seed, step])
        found = []
        for number in chosen:
            spare = len(self.rows[number]) - (self.framing.window_tokens - 2)
            start = int(random.integers(0, spare + 1)) if spare > 0 else 0
            found.append(framed(self.rows[number], self.framing, start))
        return found, chosen, random

    def describe(self, step: int) -> str:
        """Which rows, for people."""
        chosen = self.order.rows(step)
        shown = ", ".join(str(number) for number in chosen[:MAX_SHOWN])
        return f"rows {shown}" + (" …" if len(chosen) > MAX_SHOWN else "")


def windows(rows: Sequence[Ids], framing: Framing, batch_rows: int, seed: int) -> Windows:
    """Rows to read in batches; those beyond the window count as long as it is."""
    num_tokens = [min(len(row), framing.window_tokens - 2) for row in rows]
    return Windows(rows, RowOrder(num_tokens, batch_rows, seed), framing, seed)


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Texts with a class each, or several: `labels_of` gives those of row numbers, (B,) or (B, N).

    hidden: the share of tokens that the model does not see, drawn anew each time: it must not
    trust any single one.
    """

    windows: Windows
    labels_of: Callable[[Ids], Tensor]
    hidden: float = 0.0

    def batch(self, step: int) -> LabelBatch:
        """The batch of a step (from 0)."""
        rows, chosen, random = self.windows.draw(step)
        framing = self.windows.framing
        if self.hidden:
            rows = [hide(row, framing.mask_id, self.hidden, random) for row in rows]
        ids = padded(rows, framing.pad_id, framing.window_tokens)
        real = is_real(lengths(rows), ids.shape[1])
        counted = torch.ones(len(rows), dtype=torch.bool)
        return LabelBatch(ids, real, self.labels_of(chosen), counted)

    def describe(self, step: int) -> str:
        """Which rows, for people."""
        return self.windows.describe(step)


def hide(row: Ids, mask_id: int, share: float, random: np.random.Generator) -> Ids:
    """A framed row with a share of its tokens hidden, the marks at both ends never."""
    chosen = random.random(len(row)) < share
    chosen[[0, -1]] = False
    return np.where(chosen, mask_id, row)


@dataclass(frozen=True, eq=False)
class HiddenTokens:
    """Texts of which some tokens are hidden, which the model has to say (Devlin et al. 2018)."""

    windows: Windows
    vocab_size: int
    share: float

    def batch(self, step: int) -> TokenBatch:
        """The batch of a step (from 0)."""
        rows, _, random = self.windows.draw(step)
        framing, found = self.windows.framing, []
        for row in rows:
            maskable = np.ones(len(row), dtype=np.bool_)
            maskable[[0, -1]] = False
            found.append(
                mask_tokens(row, maskable, framing.mask_id, self.vocab_size, random, self.share)
            )
        limit = framing.window_tokens
        ids = padded([one.ids for one in found], framing.pad_id, limit)
        targets = padded([one.targets for one in found], framing.pad_id, limit)
        mask = padded([one.mask for one in found], 0, limit).bool()
        return TokenBatch(ids, targets, mask, lengths(rows))

    def describe(self, step: int) -> str:
        """Which rows, for people."""
        return self.windows.describe(step)
