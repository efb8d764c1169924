"""One answer: drawn by the model's engine, stored, handed to the event loop piece by piece.

In: a checked request and the model that is live when its turn comes. Out: pieces of text; before
the last one is handed out the interaction is on disk. A thread makes text of an answer's tokens;
the engine draws those of all answers together. Nobody reading any more ends both.
This module knows no HTTP.
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, cast
from weakref import WeakSet

from noria.errors import NoriaError, UsageError
from noria.evaluate.distance import overlap
from noria.feedback.interactions import Interaction
from noria.feedback.store import FeedbackStore
from noria.generate.batching import Engine, EngineSettings
from noria.generate.drawing import Drawn
from noria.generate.engine import draw_tokens
from noria.generate.engines import Engines
from noria.generate.loaded import LanguageModel
from noria.generate.sampling import Sampling
from noria.generate.sequences import Stream
from noria.records import content_text
from noria.serve.admission import Admission, Place
from noria.serve.bodies import Head
from noria.serve.live import LiveModel, LiveModels
from noria.serve.live_signals import LiveSignals
from noria.serve.policy import NO_POLICY, Policy
from noria.serve.protocol import ChatRequest, CompletionRequest
from noria.serve.scored import chat_log_probs, prompt_ids, scored_pieces
from noria.serve.shadow import Shadow
from noria.tasks.answer import Draw, Piece, answer_pieces
from noria.tasks.chat import chat
from noria.tasks.complete import complete
from noria.tokenizer.load import Tokenizer

ID_PREFIX = {"chat": "chatcmpl", "completion": "cmpl"}


class NothingLive(NoriaError):
    """No model is live for this tenant, or it can't be loaded."""


class AnsweredMeanwhile(NoriaError):
    """Another request with the same idempotency key was stored first; its answer stands."""


@dataclass(frozen=True)
class Asked:
    """A checked request and whose it is."""

    tenant: str
    request: ChatRequest | CompletionRequest
    idempotency_key: str = ""
    policy: Policy = NO_POLICY
    on_end: Callable[[Piece, float], None] | None = None  # told the last piece, and seconds
    number: int = 0  # of several answers to one request

    def __post_init__(self) -> None:
        request = self.request
        if not self.idempotency_key:
            return
        of_ids = isinstance(request, CompletionRequest) and not isinstance(request.given, str)
        if request.is_scored or of_ids or (request.n or 1) > 1:
            raise UsageError(
                "an Idempotency-Key",
                "none with n, echo, logprobs or a prompt of ids, since one answer's text is kept",
                "send the request without it",
            )

    @property
    def kind(self) -> str:
        """The kind of interaction that it becomes."""
        return "chat" if isinstance(self.request, ChatRequest) else "completion"

    @property
    def person(self) -> str:
        """Who asked, as the client calls them."""
        return self.request.user or ""

    @property
    def may_call(self) -> bool:
        """Whether the answer may be a call of a function."""
        return isinstance(self.request, ChatRequest) and self.request.may_call

    @property
    def said(self) -> str:
        """The last thing that was said, "" for ids: what tells one kind of request from another."""
        if isinstance(self.request, ChatRequest):
            return content_text(self.request.as_messages()[-1].content)
        return self.request.given if isinstance(self.request.given, str) else ""

    def pieces(self, live: LiveModel, draw: Draw = draw_tokens) -> Iterator[Piece]:
        """Draw the answer from a model."""
        request = self.request
        sampling = request.sampling(live.model.model.config.context_tokens)
        if self.number and sampling.seed is not None:  # each of several has a seed of its own
            sampling = replace(sampling, seed=(sampling.seed + self.number) % 2**63)
        if isinstance(request, ChatRequest):
            return chat(live.model, request.as_messages(), sampling, draw)
        if request.is_scored:
            wanted = None if request.max_tokens == 0 else sampling
            echo = bool(request.echo)
            return scored_pieces(live.model, request.given, wanted, echo, request.logprobs, draw)
        if isinstance(request.given, str):
            return complete(live.model, request.given, sampling, draw)
        before, ids = prompt_ids(live.model.tokenizer, request.given)
        return answer_pieces(live.model, [*before, *ids], sampling, draw=draw)

    def prompt(self, tokenizer: Tokenizer) -> str:
        """The prompt as an interaction keeps it: ids as the text that they stand for."""
        if isinstance(self.request, ChatRequest):
            return self.request.stored_prompt
        given = self.request.given
        return given if isinstance(given, str) else tokenizer.decode(given)


class Answer:
    """An answer that is being written; `next` and `cancel` are for the event loop."""

    def __init__(
        self,
        asked: Asked,
        live: LiveModel,
        feedback: FeedbackStore,
        place: Place,
        signals: LiveSignals,
        engine: Engine,
    ) -> None:
        self.head = Head(
            id=f"{ID_PREFIX[asked.kind]}-{uuid.uuid4().hex}",
            kind=asked.kind,
            created_at=time.time(),
            model_name=live.version.name,
            weight_hash=live.version.weight_hash,
        )
        self._asked = asked
        self._live = live
        self._feedback = feedback
        self._place = place
        self._signals = signals
        self.text = ""  # the whole answer, once it is written
        self._engine = engine
        self._stream: Stream | None = None
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Queue[Piece | Exception] = asyncio.Queue()
        self._cancelled = threading.Event()
        self._began_at = time.monotonic()

    @property
    def live(self) -> LiveModel:
        """The model that writes it."""
        return self._live

    async def next(self) -> Piece:
        """The next piece; after one with `finish` there is none. Raises what went wrong."""
        piece = await self._ready.get()
        if isinstance(piece, Exception):
            raise piece
        return piece

    async def whole(self) -> tuple[str, Piece]:
        """The text of the whole answer and its last piece, with the tokens of all."""
        texts: list[str] = []
        drawn: list[Drawn] = []
        while True:
            piece = await self.next()
            texts.append(piece.text)
            drawn += piece.drawn
            if piece.finish is not None:
                return "".join(texts), replace(piece, drawn=tuple(drawn))

    def log_probs(self, drawn: Sequence[Drawn]) -> dict[str, Any] | None:
        """OpenAI's `logprobs` of these tokens of a chat, if they were asked for."""
        if not isinstance(self._asked.request, ChatRequest) or not self._asked.request.is_scored:
            return None
        return chat_log_probs(self._live.model.tokenizer, drawn)

    def cancel(self) -> None:
        """Nobody reads any more: the engine forgets it before its next step."""
        self._cancelled.set()
        if self._stream is not None:
            self._stream.cancel()

    def write(self) -> None:
        """Write the answer, store it, hand it out; runs in a thread of its own, never raises."""
        last: Piece | Exception
        began_at = time.monotonic()
        try:
            last = self._written()
        except Exception as error:  # whatever it is, the one who waits must hear of it
            last = error
        self._count(last, time.monotonic() - began_at)
        self._loop.call_soon_threadsafe(self._end, last)

    def _count(self, last: Piece | Exception, latency_s: float) -> None:
        """Tell how it went: not of what nobody waited for, or what the client got wrong."""
        failed = isinstance(last, Exception)
        if isinstance(last, UsageError | AnsweredMeanwhile) or (
            not isinstance(last, Exception) and last.finish is None
        ):
            return
        said = "" if failed else self._asked.said
        weights = self.head.weight_hash
        self._signals.note(self._asked.tenant, weights, said, latency_s, failed=failed)

    def _written(self) -> Piece:
        texts: list[str] = []
        drawn = self._asked.pieces(self._live, self._drawn)
        with closing(cast(Any, self._asked.policy.screened(drawn))) as pieces:
            for piece in pieces:
                texts.append(piece.text)
                if self._cancelled.is_set():
                    piece = replace(piece, finish=None)  # cut short, whatever it says
                if piece.finish is not None or self._cancelled.is_set():
                    self.text = "".join(texts)
                    self._store(self.text, piece)
                    return cast(Piece, piece)
                self._loop.call_soon_threadsafe(self._ready.put_nowait, piece)
        raise NoriaError("an answer without an end", "a last piece that says why it ended")

    def _drawn(
        self, _: LanguageModel, prompt_ids: Sequence[int], sampling: Sampling
    ) -> Iterator[Drawn]:
        """The tokens, drawn by the engine beside those of others."""
        self._stream = self._engine.submit(
            self._live.model, prompt_ids, sampling, self._asked.tenant
        )
        if self._cancelled.is_set():
            self._stream.cancel()
        try:
            yield from self._stream
        finally:
            self._stream.cancel()

    def _end(self, last: Piece | Exception) -> None:
        # The place is free before the client hears the end: its next request finds it so.
        self._place.leave()
        if isinstance(last, Piece) and self._asked.on_end is not None:
            self._asked.on_end(last, time.monotonic() - self._began_at)
        self._ready.put_nowait(last)

    def _store(self, text: str, last: Piece) -> None:
        """Keep what was said; a person may rate even an answer that was not waited for.

        Such a half answer is kept without its idempotency key: trying again must bring the whole.
        """
        stored = self._feedback.record_interaction(
            tenant=self._asked.tenant,
            interaction_id=self.head.id,
            model_name=self.head.model_name,
            weight_hash=self.head.weight_hash,
            kind=self.head.kind,
            prompt=self._asked.prompt(self._live.model.tokenizer),
            answer=text,
            person=self._asked.person,
            finish=last.finish or "cancelled",
            num_prompt_tokens=last.num_prompt_tokens,
            num_answer_tokens=last.num_answer_tokens,
            idempotency_key=self._asked.idempotency_key if last.finish else "",
            created_at=self.head.created_at,
        )
        if stored.id != self.head.id:
            raise AnsweredMeanwhile(
                "a request with the same idempotency key was answered meanwhile",
                fix="send it again to get that answer",
            )


class Desk:
    """Where answers are written: at most so many at once, by one engine for each live model."""

    def __init__(
        self, models: LiveModels[LanguageModel], feedback: FeedbackStore, admission: Admission
    ) -> None:
        self.models = models
        self.engines = Engines(EngineSettings(max_running=admission.max_running))
        self.admission = admission
        self._feedback = feedback
        self._threads = ThreadPoolExecutor(admission.max_running, thread_name_prefix="noria-answer")
        self._answers: WeakSet[Answer] = WeakSet()  # a thread holds those it writes
        self._shadow = Shadow()

    def answered(self, asked: Asked) -> Interaction | None:
        """The stored answer if this request was answered before under its idempotency key."""
        if not asked.idempotency_key:
            return None
        return self._feedback.answered(
            tenant=asked.tenant,
            model_name=self.models.name,
            kind=asked.kind,
            prompt=asked.request.stored_prompt,
            person=asked.person,
            idempotency_key=asked.idempotency_key,
        )

    async def begin(self, asked: Asked, beside: Answer | None = None) -> Answer:
        """Wait for a place and begin with the model that is live then, or with `beside`'s own.

        The place is given back when the answer is written. Raises Busy, NothingLive.
        """
        place = await self.admission.enter(asked.tenant)
        try:
            # Whoever does not say who asks is somebody else each time.
            person = asked.person or uuid.uuid4().hex
            live = beside.live if beside else self.models.choose(asked.tenant, person)
            if live is None:
                raise NothingLive("no model is live", "a promoted version", "promote one first")
            engine, signals = self.engines.of(live.model), self.models.signals
            answer = Answer(asked, live, self._feedback, place, signals, engine)
            self._threads.submit(self._write, asked, answer)
        except BaseException:
            place.leave()
            raise
        self._answers.add(answer)
        return answer

    def _write(self, asked: Asked, answer: Answer) -> None:
        answer.write()
        tried = self.models.shadow(asked.tenant, answer.head.id)
        scored = not isinstance(asked.request, ChatRequest) and asked.request.is_scored
        if tried is None or scored or not answer.text:
            return

        def agreement() -> float:
            return overlap(answer.text, "".join(piece.text for piece in asked.pieces(tried)))

        weights, said = tried.version.weight_hash, asked.said
        self._shadow.copy(self.models.signals, asked.tenant, weights, said, agreement)

    async def close(self) -> None:
        """Stop every answer that is still being written and wait for the threads."""
        for answer in list(self._answers):
            answer.cancel()
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self.engines.close)
        await asyncio.to_thread(self._shadow.close)


def refused_by(policy: Policy, asked: Asked, desk: Desk) -> str:
    """Why the policy refuses a request's prompt, "" if it does not. Raises NothingLive."""
    request = asked.request
    if isinstance(request, ChatRequest):
        turns = request.as_messages()
        texts = ["".join(part.text for part in turn.content) for turn in turns]
    elif isinstance(request.given, str):
        texts = [request.given]
    else:
        live = desk.models.get(asked.tenant)
        if live is None:
            raise NothingLive("no model is live", "a promoted version", "promote one first")
        texts = [asked.prompt(live.model.tokenizer)]
    return policy.refused_prompt(asked.tenant, texts)
