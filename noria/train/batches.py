"""Token shards in, batches out; which tokens a step sees is a pure function of its number.

    B  sequences of a batch      T  tokens of a sequence

There is no state to save: a resumed run asks for step n and gets what the first run got.
This module does not know what the tokens mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from noria.errors import TrainingError
from noria.tokenizer.pack import Shard

Ids = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Batch:
    """Inputs, next-token targets and which targets count: each (B, T)."""

    ids: torch.Tensor
    targets: torch.Tensor
    mask: torch.Tensor

    @property
    def num_trained_tokens(self) -> int:
        """How many targets count in the loss."""
        return int(self.mask.sum())

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(self.ids.to(device), self.targets.to(device), self.mask.to(device))

    def split(self, num_sequences: int) -> list[Batch]:
        """Cut into micro-batches of at most that many sequences."""
        cuts = [slice(i, i + num_sequences) for i in range(0, len(self.ids), num_sequences)]
        return [Batch(self.ids[cut], self.targets[cut], self.mask[cut]) for cut in cuts]


class Blocks:
    """A shard cut into blocks of T + 1 tokens, visited in a new order each pass.

    Each pass starts at another offset, so that block borders fall elsewhere.
    """

    def __init__(self, shard: Shard, context_tokens: int, end_id: int, seed: int) -> None:
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
        self.num_blocks = max(1, (shard.num_tokens - 1) // context_tokens)
        self._orders: dict[int, tuple[int, Ids]] = {}

    def _order(self, num_pass: int) -> tuple[int, Ids]:
        if num_pass not in self._orders:
            random = np.random.Generator(np.random.PCG64([self._seed, num_pass]))
            spare = self._shard.num_tokens - 1 - self.num_blocks * self._context_tokens
            offset = int(random.integers(0, max(0, spare) + 1))
            self._orders = {num_pass: (offset, random.permutation(self.num_blocks))}
        return self._orders[num_pass]

    def read(self, index: int) -> tuple[Ids, Flags]:
        """The index-th block since the start of training: tokens (T+1,) and mask (T+1,)."""
        num_pass, position = divmod(index, self.num_blocks)
        offset, order = self._order(num_pass)
        start = offset + int(order[position]) * self._context_tokens
        length = self._context_tokens + 1
        ids = np.asarray(self._shard.tokens[start : start + length], dtype=np.int64)
        mask = np.asarray(self._shard.mask[start : start + length], dtype=np.bool_)
        missing = length - len(ids)
        if missing > 0:  # a shard shorter than one block
            ids = np.pad(ids, (0, missing), constant_values=self._end_id)
            mask = np.pad(mask, (0, missing), constant_values=False)
        return ids, mask


class Mixture:
    """Several sources of blocks with a fixed share of every batch."""

    def __init__(self, sources: Sequence[tuple[Blocks, float]], num_sequences: int) -> None:
        shares = np.array([share for _, share in sources])
        counts = np.floor(shares / shares.sum() * num_sequences + 1e-9).astype(int)
        counts[int(np.argmax(shares))] += num_sequences - int(counts.sum())
        if (counts == 0).any():
            raise TrainingError(
                f"a batch of {num_sequences} sequences over {len(counts)} sources",
                "at least one sequence of each",
                "raise train.batch_tokens",
            )
        self.sources = tuple(blocks for blocks, _ in sources)
        self.counts = tuple(int(count) for count in counts)

    def batch(self, step: int) -> Batch:
        """The batch of a step (from 0)."""
        rows = [
            blocks.read(step * count + position)
            for blocks, count in zip(self.sources, self.counts, strict=True)
            for position in range(count)
        ]
        ids = torch.from_numpy(np.stack([row[0] for row in rows]))  # (B, T+1)
        mask = torch.from_numpy(np.stack([row[1] for row in rows]))  # (B, T+1)
        return Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous(), mask[:, 1:].contiguous())
