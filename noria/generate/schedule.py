"""Which sequences take part in the engine's next step, and with how many tokens.

In: requests in the order in which they came. Out: the turns of one step, their blocks at hand.
Sequences that draw always take part; pieces of prompts fill what is left of a step, so that a long
prompt does not stall the others. A source is read whole: one that is longer than a step's room is
the only one of its step. When blocks run out, the youngest gives its own back and waits at
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
    """A sequence's part of a step: how many of its unread tokens are read.

    reads_source: whether its source is read too, before them.
    """

    sequence: Sequence
    num_new: int
    reads_source: bool = False

    @property
    def num_tokens(self) -> int:
        """All tokens that it reads."""
        return self.num_new + (len(self.sequence.source) if self.reads_source else 0)


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
        room = left = self._num_beside if found else self._num_tokens
        for one in list(self.running):
            if one.num_unread > 1 and one in self.running and left > 0:
                left -= self._given(one, left, room, found)
        while left > 0 and not self._gave_way and (admitted := self._admitted()) is not None:
            self.running.append(admitted)
            left -= self._given(admitted, left, room, found)
        # whoever has given its blocks back meanwhile has no turn
        return [turn for turn in found if turn.sequence in self.running]

    def _given(self, sequence: Sequence, left: int, room: int, found: list[Turn]) -> int:
        """Add a sequence's turn if there is room for one; returns how many tokens it reads."""
        reads_source = sequence.num_source_unread > 0
        if reads_source and sequence.num_source_unread >= left < room:
            return left  # in the next step, before all who come later
        left_after_source = max(1, left - sequence.num_source_unread)
        num_new = min(len(sequence.ids) - sequence.num_read, left_after_source)
        if not self._has_room(sequence, num_new):
            return 0
        turn = Turn(sequence, num_new, reads_source)
        found.append(turn)
        return turn.num_tokens

    def was_read(self, turn: Turn) -> None:
        """Count a turn's tokens as read, and let others find the blocks that are full now."""
        sequence, size = turn.sequence, self._pool.block_tokens
        if turn.reads_source:
            sequence.num_source_read = len(sequence.source)
            if self._shares:
                names = sequence.source_names(len(sequence.source_blocks))
                for block, name in zip(sequence.source_blocks, names, strict=True):
                    self._pool.name(block, name)
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
            source_names, names = self._source_names(sequence), self._names(sequence)
            wanted = [*source_names, *names]
            missing = next((name for name in wanted if not self._pool.knows(name)), None)
            if missing is not None and missing in soon:
                continue
            source = self._pool.find(source_names)
            if len(source) < len(source_names):  # of a source all or nothing
                self._pool.give_back(source)
                source = []
            found = self._pool.find(names)
            needed = self._num_blocks(sequence) - len(source) - len(found)
            if needed > self._pool.num_free and self.running:
                self._pool.give_back(found)
                self._pool.give_back(source)
                return None
            sequence.blocks, sequence.source_blocks = found, source
            sequence.num_read = len(found) * self._pool.block_tokens
            sequence.num_source_read = len(sequence.source) if source else 0
            self.num_shared_tokens += sequence.num_read + sequence.num_source_read
            self.waiting.remove(sequence)
            return sequence
        return None

    def _num_blocks(self, sequence: Sequence) -> int:
        """What all of its tokens take now."""
        size = self._pool.block_tokens
        return -(-len(sequence.ids) // size) - (-len(sequence.source) // size)

    def _soon_known(self) -> set[bytes]:
        """Names of blocks that a running sequence is about to fill."""
        size = self._pool.block_tokens
        soon = set()
        for one in self.running:
            if one.num_source_unread:
                soon.update(self._source_names(one))
            if one.num_unread > 1:
                soon.update(self._names(one)[one.num_read // size :])
        return soon

    def _source_names(self, sequence: Sequence) -> list[bytes]:
        """Of all blocks of its source; none where nothing is shared."""
        num_blocks = -(-len(sequence.source) // self._pool.block_tokens)
        return sequence.source_names(num_blocks) if self._shares else []

    def _names(self, sequence: Sequence) -> list[bytes]:
        """Of its full blocks, at least one token left out: what follows the last is drawn from it.

        None where nothing is shared.
        """
        num_full = (len(sequence.ids) - 1) // self._pool.block_tokens
        return sequence.first_names(num_full, self._pool.block_tokens) if self._shares else []

    def _has_room(self, sequence: Sequence, num_new: int) -> bool:
        """Take the blocks that a turn needs, if need be from the youngest; maybe itself."""
        size = self._pool.block_tokens
        needed = -(-(sequence.num_read + num_new) // size)
        of_source = -(-len(sequence.source) // size)
        while len(sequence.blocks) < needed or len(sequence.source_blocks) < of_source:
            block = self._pool.take()
            if block is not None:
                short = len(sequence.source_blocks) < of_source
                (sequence.source_blocks if short else sequence.blocks).append(block)
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
        self._pool.give_back(sequence.source_blocks)
        sequence.blocks, sequence.source_blocks = [], []
        sequence.num_read = sequence.num_source_read = 0
