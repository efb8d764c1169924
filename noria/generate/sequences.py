"""One request of the engine while it runs: its tokens, its blocks, and the stream of its answer.

In: what the engine draws. Out: what the one who asked hears, in another thread.
This module does not know models or other requests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import final

from noria.generate.blocks import block_name, source_name
from noria.generate.drawing import Drawer, Drawn
from noria.generate.loaded import Answering

Hear = Callable[[Drawn | Exception | None], None]


@final
class Stream:
    """The tokens of one answer, for one thread to read; `cancel` may come from any.

    An id that ends the answer comes last; without one the answer ended after max_tokens, or where
    the context did. Iterating raises what went wrong. With `hear` nobody iterates: the engine's
    thread tells it each token, and in the end None or what went wrong; it must return at once.
    """

    def __init__(
        self, wake: Callable[[], None], num_prompt_tokens: int, hear: Hear | None = None
    ) -> None:
        self.num_prompt_tokens = num_prompt_tokens
        self._wake = wake
        self._heard: SimpleQueue[Drawn | Exception | None] = SimpleQueue()
        self._hear = hear or self._heard.put
        self._cancelled = threading.Event()

    def __iter__(self) -> Iterator[Drawn]:
        while True:
            heard = self._heard.get()
            if heard is None:
                return
            if isinstance(heard, Exception):
                raise heard
            yield heard

    @property
    def is_cancelled(self) -> bool:
        """Whether nobody wants the rest."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Nobody wants the rest: before its next step the engine forgets the request."""
        self._cancelled.set()
        self._wake()

    def put(self, token: Drawn) -> None:
        """For the engine: one more token."""
        self._hear(token)

    def end(self, error: Exception | None = None) -> None:
        """For the engine: there is no more."""
        self._hear(error)


@dataclass(eq=False)
class Sequence:
    """A request and how far it is.

    model: which of those that share the engine's base answers it. source: what an encoder-decoder
    answers, with blocks of its own, read whole; others have none. ids: prompt and answer, or of an
    encoder-decoder the answer. num_read: how many of them have keys and values in the blocks; the
    rest is read next. names: of those of its full blocks that are known by now, each made from the
    one before; the first is the root's, of no block.
    """

    model: Answering
    source: list[int]
    ids: list[int]
    num_left: int
    drawer: Drawer
    stream: Stream
    names: list[bytes]
    blocks: list[int] = field(default_factory=list)
    source_blocks: list[int] = field(default_factory=list)
    num_read: int = 0
    num_source_read: int = 0

    @property
    def num_unread(self) -> int:
        """Tokens to read before the next can be drawn."""
        return len(self.ids) - self.num_read + self.num_source_unread

    @property
    def num_source_unread(self) -> int:
        """Of those, the source's: all of it or none."""
        return len(self.source) - self.num_source_read

    def source_names(self, num_blocks: int) -> list[bytes]:
        """The names of its source's blocks: the chain's root tells the source."""
        return [source_name(self.names[0], number) for number in range(num_blocks)]

    def first_names(self, num_blocks: int, block_tokens: int) -> list[bytes]:
        """The names of the first blocks that its tokens fill."""
        while len(self.names) <= num_blocks:
            start = (len(self.names) - 1) * block_tokens
            ids = self.ids[start : start + block_tokens]
            self.names.append(block_name(self.names[-1], ids))
        return self.names[1 : num_blocks + 1]
