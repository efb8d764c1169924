"""Continuous batching: many answers at once over one base model, on one thread of its own.

In: prompts' ids and settings, from any thread. Out: a stream of tokens for each. Requests join and
leave at every step; a step reads one new token of every sequence that draws, and pieces of prompts.
Models that are this base and an adapter each are read in the same step.
Each answer has the tokens that it would get alone, up to rounding: sums of floats depend on how
many rows are multiplied at once, so that two nearly equal logits may change places; what
noria.generate.fused reads is the same to the last place.
This module does not know text, chats or HTTP.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence as Ids
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from noria.errors import NoriaError, UsageError
from noria.generate.blocks import BlockPool, block_name, bytes_per_block, root_name
from noria.generate.drawing import Drawer
from noria.generate.engine import begun
from noria.generate.loaded import Answering
from noria.generate.reading import Reader
from noria.generate.sampling import Sampling
from noria.generate.schedule import Schedule, Turn
from noria.generate.sequences import Hear, Sequence, Stream
from noria.tokenizer.chat import stop_ids

MAX_BLOCKS = 1 << 16  # a million tokens of 16 a block: more would serve nobody

log = logging.getLogger(__name__)


class Stopped(NoriaError):
    """The engine was closed before the answer was written."""


@dataclass(frozen=True)
class EngineSettings:
    """How much an engine takes in.

    cache_bytes: for keys and values; one whole context always has room. prompt_tokens: of prompts
    in a step in which nobody draws, prompt_tokens_beside: in one in which somebody waits for its
    next token. shares_prefixes: whether prompts of one tenant that begin alike are read once.
    """

    cache_bytes: int = 512 << 20
    block_tokens: int = 16
    max_running: int = 32
    prompt_tokens: int = 512
    prompt_tokens_beside: int = 64
    shares_prefixes: bool = True

    def __post_init__(self) -> None:
        for name in ("cache_bytes", "block_tokens", "max_running"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} = {getattr(self, name)}", "1 or more")
        if min(self.prompt_tokens, self.prompt_tokens_beside) < 1:
            raise UsageError("a step without room for a prompt", "1 token or more")


@dataclass(frozen=True)
class EngineState:
    """What an engine is doing, and has done so far; for metrics.

    num_drawn: tokens of answers; num_read: tokens that went through the model; num_shared: tokens
    that did not have to, because a block of them was there.
    """

    num_running: int
    num_waiting: int
    num_blocks_read: int
    num_blocks: int
    num_steps: int
    num_drawn: int
    num_read: int
    num_shared: int


@final
class Engine:
    """One base, its cache and its thread, which begins with the first request.

    model: the base, or any model over it.
    """

    def __init__(self, model: Answering, settings: EngineSettings | None = None) -> None:
        self.base = model.base
        self._reader = Reader(self.base)
        self._settings = settings or EngineSettings()
        self._lay_cache()
        self._changed = threading.Condition()
        self._arrived: list[Sequence] = []
        self._thread: threading.Thread | None = None
        self._closing = False
        self._num_steps = self._num_drawn = self._num_read = 0

    def _lay_cache(self) -> None:
        settings, reader = self._settings, self._reader
        size = settings.block_tokens
        whole = -(-reader.config.context_tokens // size) * (2 if reader.has_sources else 1)
        num_blocks = settings.cache_bytes // bytes_per_block(reader.config, size, reader.dtype)
        num_blocks = max(min(num_blocks, MAX_BLOCKS), whole)
        self._pool = BlockPool(reader.config, num_blocks, size, reader.dtype, reader.device)
        self._schedule = Schedule(
            self._pool,
            settings.max_running,
            settings.prompt_tokens,
            settings.prompt_tokens_beside,
            settings.shares_prefixes,
        )

    def submit(
        self,
        model: Answering,
        prompt_ids: Ids[int],
        sampling: Sampling,
        tenant: str = "",
        hear: Hear | None = None,
    ) -> Stream:
        """Ask a model over this engine's base for an answer; its tokens come as they are drawn.

        tenant: whose it is; prompts are shared within a tenant and a model alone. hear: as `Stream`
        has it. Raises UsageError for a model over another base and as `generate_tokens` does,
        Stopped after `close`.
        """
        if model.base is not self.base:
            raise UsageError(
                f"the model {model.weight_hash[:12]}, which is over another base",
                "one over this engine's",
                "ask the engine that `Engines.of` gives for the model",
            )
        asked = begun(model, prompt_ids, sampling)
        drawer = Drawer(sampling, asked.ids, model.tokenizer)
        stream = Stream(self._wake, len(asked.source) or len(asked.ids), hear)
        root = root_name(tenant, model.weight_hash)
        names = [block_name(root, asked.source) if asked.source else root]
        begin = asked.source, asked.ids, asked.num_left
        sequence = Sequence(model, *begin, drawer, stream, names)
        with self._changed:
            if self._closing:
                raise Stopped("a closed engine", "one that runs", "try again")
            self._arrived.append(sequence)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="noria-engine", daemon=True)
                self._thread.start()
            self._changed.notify()
        return stream

    def close(self) -> None:
        """End every answer at once, with Stopped, and wait for the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    @property
    def state(self) -> EngineState:
        """Counts, as they are now; another thread may be changing them."""
        return EngineState(
            num_running=len(self._schedule.running),
            num_waiting=len(self._schedule.waiting) + len(self._arrived),
            num_blocks_read=self._pool.num_read,
            num_blocks=self._pool.num_blocks,
            num_steps=self._num_steps,
            num_drawn=self._num_drawn,
            num_read=self._num_read,
            num_shared=self._schedule.num_shared_tokens,
        )

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def _run(self) -> None:
        while self._takes_in():
            try:
                self._move_on()
            except Exception as error:  # whatever it is, nobody may wait for ever
                log.exception("the engine's step broke off; it begins anew")
                ended = self._all()
                self._lay_cache()
                for one in ended:
                    one.stream.end(error)

    def _move_on(self) -> None:
        for one in self._all():
            if one.stream.is_cancelled:
                self._end(one)
        turns = self._schedule.turns()
        if turns:
            self._step(turns)

    def _takes_in(self) -> bool:
        """Wait for something to do; false if there will be nothing more."""
        with self._changed:
            while not (self._arrived or self._all() or self._closing):
                self._changed.wait()
            self._schedule.waiting.extend(self._arrived)
            self._arrived = []
            if self._closing:
                for one in self._all():
                    self._end(one, Stopped("an engine that was closed", fix="try again"))
            return bool(self._all())

    def _all(self) -> list[Sequence]:
        return [*self._schedule.running, *self._schedule.waiting]

    def _step(self, turns: Ids[Turn]) -> None:
        turns = sorted(turns, key=lambda one: one.sequence.model.weight_hash)
        try:
            logits = self._read(turns)
        except Exception as error:  # whoever took part must hear of it; the others go on
            for turn in turns:
                self._end(turn.sequence, error)
            return
        self._num_steps += 1
        drawing = []
        for turn in turns:
            self._num_read += turn.num_tokens
            self._schedule.was_read(turn)
            if not turn.sequence.num_unread:
                drawing.append(turn.sequence)
        for sequence, row in zip(drawing, logits, strict=True):
            self._draw(sequence, row)

    def _read(self, turns: Ids[Turn]) -> Float[Tensor, "B V"]:
        """The logits behind the last token of each turn that reads to the end."""
        return self._reader.read(turns, self._pool)

    @torch.inference_mode()
    def _draw(self, sequence: Sequence, logits: Float[Tensor, " V"]) -> None:
        tokenizer = sequence.model.tokenizer
        try:
            drawn = sequence.drawer.draw(logits[: tokenizer.vocab_size])
        except Exception as error:  # as above
            self._end(sequence, error)
            return
        self._num_drawn += 1
        sequence.ids.append(drawn.token_id)
        sequence.num_left -= 1
        sequence.stream.put(drawn)
        if drawn.token_id in stop_ids(tokenizer) or not sequence.num_left:
            self._end(sequence)

    def _end(self, sequence: Sequence, error: Exception | None = None) -> None:
        """The blocks are free before the one who asked hears the end."""
        self._schedule.leave(sequence)
        sequence.stream.end(error)
