"""Token shards in, batches out; which tokens a step sees is a pure function of its number.

    B  sequences of a batch      T  tokens of a sequence

There is no state to save: a resumed run asks for step n and gets what the first run got.
This module does not know what the tokens mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from noria.errors import TrainingError
from noria.tokenizer.pack import Shard
from noria.train.batch import TokenBatch

MAX_SHOWN = 4
PADDING_DOCUMENT = -1  # no document has this number
Ids = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Row(NamedTuple):
    """Tokens (T+1,), which of them count as targets (T+1,), and the number of each one's document
    (T+1,) where several in a row do not read each other."""

    ids: Ids
    mask: Flags
    documents: Ids | None = None


class RowSource(Protocol):
    """Rows of tokens in an order that their number alone decides."""

    def read(self, index: int) -> Row:
        """The index-th row since the start of training."""
        ...

    def where(self, index: int) -> str:
        """Where that row lies in its shard, for people."""
        ...


class Blocks:
    """A shard cut into blocks of T + 1 tokens, visited in a new order each pass.

    Each pass starts at another offset, so that block borders fall elsewhere. apart: documents do
    not read each other; the end token before a document is its first.
    """

    def __init__(
        self, shard: Shard, context_tokens: int, end_id: int, seed: int, *, apart: bool = False
    ) -> None:
        if int(shard.mask.sum()) == 0:
            raise TrainingError(
                "no token to train on",
                "text in the corpus",
                "add documents or lower min_characters",
            )
        self._shard = shard
        self._context_tokens = context_tokens
        self._end_id = end_id
        self._seed = seed
        self._apart = apart
        self.num_blocks = max(1, (shard.num_tokens - 1) // context_tokens)
        self._orders: dict[int, tuple[int, Ids]] = {}

    @property
    def mean_tokens(self) -> float:
        """Inputs of a row."""
        return self._context_tokens

    @property
    def num_tokens(self) -> int:
        """Inputs of one pass."""
        return self.num_blocks * self._context_tokens

    def _order(self, num_pass: int) -> tuple[int, Ids]:
        if num_pass not in self._orders:
            random = np.random.Generator(np.random.PCG64([self._seed, num_pass]))
            spare = self._shard.num_tokens - 1 - self.num_blocks * self._context_tokens
            offset = int(random.integers(0, max(0, spare) + 1))
            self._orders = {num_pass: (offset, random.permutation(self.num_blocks))}
        return self._orders[num_pass]

    def where(self, index: int) -> str:
        """Which tokens of the shard."""
        start = self._start(index)
        return f"tokens {start:,} to {start + self._context_tokens:,}"

    def _start(self, index: int) -> int:
        num_pass, position = divmod(index, self.num_blocks)
        offset, order = self._order(num_pass)
        return offset + int(order[position]) * self._context_tokens

    def read(self, index: int) -> Row:
        """The index-th block since the start of training."""
        start, length = self._start(index), self._context_tokens + 1
        ids = np.asarray(self._shard.tokens[start : start + length], dtype=np.int64)
        mask = np.asarray(self._shard.mask[start : start + length], dtype=np.bool_)
        missing = length - len(ids)
        if missing > 0:  # a shard shorter than one block
            ids = np.pad(ids, (0, missing), constant_values=self._end_id)
            mask = np.pad(mask, (0, missing), constant_values=False)
        return Row(ids, mask, np.cumsum(ids == self._end_id) if self._apart else None)


class Sequences:
    """A shard's sequences, one a row, visited in a new order each pass.

    A row begins with the end token before it where `leads` says so or where its own first token
    counts (as a document's does); else its first token is given. A sequence longer than the
    context is cut; a cut without a counted target is left out. Nothing of one sequence is seen by
    another.
    """

    def __init__(self, shard: Shard, context_tokens: int, leads: bool, seed: int) -> None:
        self._shard = shard
        self._seed = seed
        rows: list[tuple[int, int]] = []
        for first, last in pairwise([*shard.starts.tolist(), shard.num_tokens]):
            start = first - 1 if leads or shard.mask[first] else first
            for at in range(start, last - 1, context_tokens):  # the last of a cut begins the next
                counted = np.flatnonzero(shard.mask[at + 1 : min(at + 1 + context_tokens, last)])
                if len(counted):
                    rows.append((at, at + 2 + int(counted[-1])))
        if not rows:
            raise TrainingError(
                "no sequence to train on",
                "conversations or text in the corpus",
                "add some, or raise model.context_tokens",
            )
        self._rows = rows
        self._orders: dict[int, Ids] = {}

    @property
    def num_rows(self) -> int:
        """Rows of one pass."""
        return len(self._rows)

    @property
    def mean_tokens(self) -> float:
        """Inputs of a row, in the mean."""
        return sum(end - start - 1 for start, end in self._rows) / len(self._rows)

    @property
    def num_tokens(self) -> int:
        """Inputs of one pass."""
        return sum(end - start - 1 for start, end in self._rows)

    def read(self, index: int) -> Row:
        """The index-th row since the start of training, at most T + 1 tokens."""
        start, end = self._row(index)
        ids = np.asarray(self._shard.tokens[start:end], dtype=np.int64)
        return Row(ids, np.asarray(self._shard.mask[start:end], dtype=np.bool_))

    def where(self, index: int) -> str:
        """Which tokens of the shard."""
        start, end = self._row(index)
        return f"tokens {start:,} to {end:,}"

    def length(self, index: int) -> int:
        """Tokens of the index-th row, the one that is only a target included."""
        start, end = self._row(index)
        return end - start

    def _row(self, index: int) -> tuple[int, int]:
        num_pass, position = divmod(index, len(self._rows))
        if num_pass not in self._orders:
            random = np.random.Generator(np.random.PCG64([self._seed, num_pass]))
            self._orders = {num_pass: random.permutation(len(self._rows))}
        return self._rows[int(self._orders[num_pass][position])]


class Mixture:
    """Several sources of rows with a fixed share of every batch; shorter rows are padded."""

    def __init__(self, sources: Sequence[tuple[RowSource, float]], num_sequences: int) -> None:
        shares = np.array([share for _, share in sources])
        counts = np.floor(shares / shares.sum() * num_sequences + 1e-9).astype(int)
        counts = np.maximum(counts, 1)  # a small share is not none
        counts[int(np.argmax(shares))] += num_sequences - int(counts.sum())
        if (counts < 1).any():
            raise TrainingError(
                f"a batch of {num_sequences} sequences over {len(counts)} sources",
                "at least one sequence of each",
                "raise train.batch_tokens",
            )
        self.sources = tuple(blocks for blocks, _ in sources)
        self.counts = tuple(int(count) for count in counts)

    def batch(self, step: int) -> TokenBatch:
        """The batch of a step (from 0)."""
        rows = [source.read(index) for _, source, index in self._numbered(step)]
        lengths = np.array([len(row.ids) - 1 for row in rows])
        # Long rows stand together, so that the micro-batches of short ones are narrow.
        order = np.argsort(-lengths, kind="stable")
        shape = (len(rows), int(lengths.max()) + 1)
        ids, mask = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.bool_)
        documents = np.full(shape, PADDING_DOCUMENT) if rows[0].documents is not None else None
        for place, row in enumerate(rows[index] for index in order):
            ids[place, : len(row.ids)] = row.ids
            mask[place, : len(row.ids)] = row.mask
            if documents is not None:
                documents[place, : len(row.ids)] = row.documents
        padded = lengths.min() < lengths.max()
        return TokenBatch(
            torch.from_numpy(ids[:, :-1].copy()),
            torch.from_numpy(ids[:, 1:].copy()),
            torch.from_numpy(mask[:, 1:].copy()),
            torch.from_numpy(lengths[order]) if padded else None,
            None if documents is None else torch.from_numpy(documents[:, :-1].copy()),
        )

    def describe(self, step: int) -> str:
        """Which tokens of which source the batch of a step holds."""
        found = [
            f"{source.where(i)} of source {number}" for number, source, i in self._numbered(step)
        ]
        shown = ", ".join(found[:MAX_SHOWN])
        return shown if len(found) <= MAX_SHOWN else f"{shown} and {len(found) - MAX_SHOWN} more"

    def _numbered(self, step: int) -> Iterator[tuple[int, RowSource, int]]:
        """Number, source and row of each row of a step's batch."""
        for number, (source, count) in enumerate(zip(self.sources, self.counts, strict=True), 1):
            for position in range(count):
                yield number, source, step * count + position
