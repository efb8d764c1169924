"""Which sequences take part in the engine's next step, and with how many tokens.

In: requests in the order in which they came. Out: the turns of one step, their blocks at hand.
Sequences that draw always take part; pieces of prompts fill what is left of a step, so that a long
prompt does not stall the others. When blocks run out, the youngest gives its own back and waits at
the head of the queue: what it has written is read again later, the rest of its answer is the same.
This module does not know models, threads or logits.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import final

from noria.generate.blocks import BlockPool
from noria.generate.sequences import Sequence


@dataclass(frozen=True)
class Turn:
    """A sequence's part of a step: how many of its unread tokens are read."""

    sequence: Sequence
    num_new: int


@final
class Schedule:
    """The queue and those that run.

    num_tokens: of prompts, in a step in which nobody draws; num_beside: in one in which somebody
    does. shares: whether a sequence may begin with blocks that another has filled.
    """

    def __init__(
        self, pool: BlockPool, max_running: int, num_tokens: int, num_beside: int, shares: bool
    ) -> None:
        self.running: list[Sequence] = []  # the oldest first
        self.waiting: deque[Sequence] = deque()
        self.num_shared_tokens = 0  # found in blocks that others had filled
        self._pool = pool
        self._max_running = max_running
        self._num_tokens = num_tokens
        self._num_beside = num_beside
        self._shares = shares
        self._gave_way = False  # in this step: who has just lost its blocks does not come back yet

    def leave(self, sequence: Sequence) -> None:
        """Forget a sequence that has ended, wherever it is."""
        if sequence in self.running:
            self.running.remove(sequence)
            self._give_back(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)

    def turns(self) -> list[Turn]:
        """The next step; none only if there is no sequence. The oldest always moves on."""
        self._gave_way = False
        found = []
        for one in list(self.running):
            if one.num_unread == 1 and one in self.running and self._has_room(one, 1):
                found.append(Turn(one, 1))
        left = self._num_beside if found else self._num_tokens
        for one in list(self.running):
            if one.num_unread > 1 and one in self.running and left:
                num_new = min(one.num_unread, left)
                if self._has_room(one, num_new):
                    found.append(Turn(one, num_new))
                    left -= num_new
        while left and not self._gave_way and (admitted := self._admitted()) is not None:
            num_new = min(admitted.num_unread, left)
            self.running.append(admitted)
            if self._has_room(admitted, num_new):
                found.append(Turn(admitted, num_new))
                left -= num_new
        # whoever has given its blocks back meanwhile has no turn
        return [turn for turn in found if turn.sequence in self.running]

    def was_read(self, turn: Turn) -> None:
        """Count a turn's tokens as read, and let others find the blocks that are full now."""
        sequence, size = turn.sequence, self._pool.block_tokens
        first = sequence.num_read // size
        sequence.num_read += turn.num_new
        num_full = sequence.num_read // size
        if self._shares and num_full > first:
            names = sequence.first_names(num_full, size)
            for number in range(first, num_full):
                self._pool.name(sequence.blocks[number], names[number])

    def _admitted(self) -> Sequence | None:
        """The next that may begin: first come, first served, except those who soon could share."""
        if len(self.running) >= self._max_running:
            return None
        soon = self._soon_known()
        for sequence in self.waiting:
            names = self._names(sequence)
            missing = next((name for name in names if not self._pool.knows(name)), None)
            if missing is not None and missing in soon:
                continue
            found = self._pool.find(names)
            needed = -(-len(sequence.ids) // self._pool.block_tokens) - len(found)
            if needed > self._pool.num_free and self.running:
                self._pool.give_back(found)
                return None
            sequence.blocks = found
            sequence.num_read = len(found) * self._pool.block_tokens
            self.num_shared_tokens += sequence.num_read
            self.waiting.remove(sequence)
            return sequence
        return None

    def _soon_known(self) -> set[bytes]:
        """Names of blocks that a running sequence is about to fill."""
        size = self._pool.block_tokens
        return {
            name
            for one in self.running
            if one.num_unread > 1
            for name in self._names(one)[one.num_read // size :]
        }

    def _names(self, sequence: Sequence) -> list[bytes]:
        """Of its full blocks, at least one token left out: what follows the last is drawn from it.

        None where nothing is shared.
        """
        num_full = (len(sequence.ids) - 1) // self._pool.block_tokens
        return sequence.first_names(num_full, self._pool.block_tokens) if self._shares else []

    def _has_room(self, sequence: Sequence, num_new: int) -> bool:
        """Take the blocks that a turn needs, if need be from the youngest; maybe itself."""
        needed = -(-(sequence.num_read + num_new) // self._pool.block_tokens)
        while len(sequence.blocks) < needed:
            block = self._pool.take()
            if block is not None:
                sequence.blocks.append(block)
                continue
            youngest = self.running.pop()
            self._gave_way = True
            self._give_back(youngest)
            self.waiting.appendleft(youngest)
            if youngest is sequence:
                return False
        return True

    def _give_back(self, sequence: Sequence) -> None:
        self._pool.give_back(sequence.blocks)
        sequence.blocks = []
        sequence.num_read = 0
