"""Whole sequences side by side in rows of one length, each reading itself alone.

In: sequences of uneven length. Out: rows that are filled as far as whole sequences fill them, with
the number of each token's sequence. Which of them share a row depends on pass and seed alone.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from noria.train.batches import Row, Sequences

NUM_OPEN = 64  # rows that a sequence may still go into; more hardly fill better


class Packed:
    """Rows of at most T + 1 tokens, filled by first fit (Johnson 1973) in a new order each pass."""

    def __init__(self, sequences: Sequences, context_tokens: int) -> None:
        self._sequences = sequences
        self._room = context_tokens + 1
        self._firsts = [0]  # number of the first row of each pass, and of the one after the last
        self._rows: tuple[int, list[list[int]]] = (-1, [])
        self._plan(0)

    @property
    def mean_tokens(self) -> float:
        """Inputs of a row, in the mean of the first pass."""
        return self.num_tokens / self._firsts[1]

    @property
    def num_tokens(self) -> int:
        """Inputs of one pass."""
        return self._sequences.num_tokens

    def read(self, index: int) -> Row:
        """The index-th row since the start of training.

        The first token of a sequence is given, and never the target of the sequence before it.
        """
        rows = [self._sequences.read(one) for one in self._members(index)]
        masks = [np.concatenate([[False], row.mask[1:]]) for row in rows]
        lengths = [len(row.ids) for row in rows]
        documents = np.repeat(np.arange(len(rows)), lengths)
        return Row(np.concatenate([row.ids for row in rows]), np.concatenate(masks), documents)

    def where(self, index: int) -> str:
        """Which tokens of the shard."""
        return " and ".join(self._sequences.where(one) for one in self._members(index))

    def _members(self, index: int) -> list[int]:
        while index >= self._firsts[-1]:
            self._plan(len(self._firsts) - 1)
        num_pass = bisect_right(self._firsts, index) - 1
        if self._rows[0] != num_pass:
            self._plan(num_pass)
        return self._rows[1][index - self._firsts[num_pass]]

    def _plan(self, num_pass: int) -> None:
        """Put the sequences of a pass, in its order, into the first open row that has room."""
        rows: list[list[int]] = []
        spare: list[int] = []
        first = num_pass * self._sequences.num_rows
        for index in range(first, first + self._sequences.num_rows):
            length = self._sequences.length(index)
            begin = max(0, len(rows) - NUM_OPEN)
            fits = (row for row in range(begin, len(rows)) if spare[row] >= length)
            row = next(fits, len(rows))
            if row == len(rows):
                rows.append([])
                spare.append(self._room)
            rows[row].append(index)
            spare[row] -= length
        self._rows = (num_pass, rows)
        if num_pass + 1 == len(self._firsts):
            self._firsts.append(self._firsts[-1] + len(rows))
