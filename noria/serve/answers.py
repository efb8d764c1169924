"""One answer: written by the worker, stored here, handed out piece by piece.

In: a checked request and the model that is live when its turn comes. Out: pieces of text; before
the last one is handed out the interaction is on disk. Pieces come to the event loop; storing has
a thread. Nobody reading any more ends the answer where it is written.
This module knows no HTTP.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

from noria.errors import NoriaError, UsageError
from noria.evaluate.distance import overlap
from noria.feedback.interactions import Interaction
from noria.feedback.store import FeedbackStore
from noria.records import content_text
from noria.serve.admission import Admission, Place
from noria.serve.bodies import Head
from noria.serve.live import LiveModel, LiveModels
from noria.serve.live_signals import LiveSignals
from noria.serve.policy import NO_POLICY, Policy
from noria.serve.protocol import ChatRequest, CompletionRequest
from noria.serve.shadow import Shadow
from noria.serve.worker.messages import Piece, joined
from noria.serve.worker.models import Answering, LanguageHandle

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

    def wanted(self, model: LanguageHandle) -> dict[str, Any]:
        """What the worker is asked for. Raises UsageError for settings that can't be."""
        request = self.request
        sampling = request.sampling(model.context_tokens)
        if self.number and sampling.seed is not None:  # each of several has a seed of its own
            sampling = replace(sampling, seed=(sampling.seed + self.number) % 2**63)
        asked = {"tenant": self.tenant, "sampling": asdict(sampling), "is_scored": False}
        if isinstance(request, ChatRequest):
            turns = [
                (turn.role, [(part.text, part.kind) for part in turn.content])
                for turn in request.as_messages()
            ]
            return {**asked, "turns": turns}
        asked["prompt"] = request.given
        if not request.is_scored:
            return asked
        if request.max_tokens == 0:  # nothing is written, the prompt is only scored
            asked["sampling"] = None
        echo = bool(request.echo)
        return {**asked, "is_scored": True, "echo": echo, "num_best": request.logprobs}

    def prompt(self, model: LanguageHandle) -> str:
        """The prompt as an interaction keeps it: ids as the text that they stand for.

        It may wait for the worker. Raises UsageError for unknown ids, WorkerGone.
        """
        if isinstance(self.request, ChatRequest):
            return self.request.stored_prompt
        given = self.request.given
        return given if isinstance(given, str) else model.decode(given)


class Answer:
    """An answer that is being written; everything but `store` is for the event loop.

    It does not hold its model: a response that lingers must not keep weights in memory.
    """

    def __init__(
        self,
        asked: Asked,
        live: LiveModel,
        feedback: FeedbackStore,
        place: Place,
        signals: LiveSignals,
        end: Callable[[Answer, Piece | Exception], None],
    ) -> None:
        self.head = Head(
            id=f"{ID_PREFIX[asked.kind]}-{uuid.uuid4().hex}",
            kind=asked.kind,
            created_at=time.time(),
            model_name=live.version.name,
            weight_hash=live.version.weight_hash,
        )
        self.asked = asked
        self.text = ""  # the whole answer, once it is written
        self._feedback = feedback
        self._place = place
        self._signals = signals
        self._end = end
        self._writing: Answering | None = None
        self._held: list[Piece] = []
        self._num_read = 0
        self._is_over = False
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Queue[Piece | Exception] = asyncio.Queue()
        self._began_at = time.monotonic()

    def begin(self, model: LanguageHandle) -> None:
        """Have it written by a model. Raises UsageError, WorkerGone."""
        self._writing = model.answer(self.asked.wanted(model), self._told)

    async def next(self) -> Piece:
        """The next piece; after one with `finish` there is none. Raises what went wrong."""
        piece = await self._ready.get()
        if isinstance(piece, Exception):
            raise piece
        return piece

    async def whole(self) -> tuple[str, Piece]:
        """The text of the whole answer and its last piece, with the tokens of all."""
        pieces = [await self.next()]
        while pieces[-1].finish is None:
            pieces.append(await self.next())
        whole = joined(pieces)
        return whole.text, whole

    def log_probs(self, piece: Piece) -> dict[str, Any] | None:
        """OpenAI's `logprobs` of a piece, if they were asked for."""
        if not isinstance(self.asked.request, ChatRequest) or not self.asked.request.is_scored:
            return piece.log_probs
        return {"content": list(piece.tokens), "refusal": None}

    def cancel(self) -> None:
        """Nobody reads any more: what is written so far is kept, and that is the end."""
        if self._is_over:
            return
        if self._writing is not None:
            self._writing.cancel()
        num_read = self._held[-1].num_prompt_tokens if self._held else self._num_read
        num_written = self._held[-1].num_answer_tokens if self._held else 0
        self._close(Piece("", None, num_read, num_written))

    def _told(self, told: int | Piece | Exception) -> None:
        """On the line's thread."""
        self._loop.call_soon_threadsafe(self._hear, told)

    def _hear(self, told: int | Piece | Exception) -> None:
        if self._is_over:
            return
        if isinstance(told, int):
            self._num_read = told
        elif isinstance(told, Exception) or told.finish is not None:
            self._close(told)
        else:
            self._held.append(told)
            self._ready.put_nowait(self.asked.policy.shown(told))

    def _close(self, last: Piece | Exception) -> None:
        self._is_over = True
        self._end(self, last)

    def store(self, last: Piece | Exception, model: LanguageHandle) -> Piece | Exception:
        """Look at the whole answer, keep it, count it; what is left to hand out, or what is wrong.

        In a thread of its own; never raises.
        """
        try:
            if isinstance(last, Piece):
                last = self._kept(last, model)
        except Exception as error:  # whatever it is, the one who waits must hear of it
            last = error
        self._count(last, time.monotonic() - self._began_at)
        return last

    def _kept(self, last: Piece, model: LanguageHandle) -> Piece:
        policy = self.asked.policy
        pieces = [*self._held, last]
        if last.finish is not None:
            last = policy.last(pieces)
        if policy.holds_back:
            self.text = last.text  # of one that nobody waited for, nothing was seen or looked at
        else:
            self.text = joined(pieces).text
        self._store(self.asked.prompt(model), self.text, last)
        return last

    def _count(self, last: Piece | Exception, latency_s: float) -> None:
        """Tell how it went: not of what nobody waited for, or what the client got wrong."""
        failed = isinstance(last, Exception)
        if isinstance(last, UsageError | AnsweredMeanwhile) or (
            not isinstance(last, Exception) and last.finish is None
        ):
            return
        said = "" if failed else self.asked.said
        weights = self.head.weight_hash
        self._signals.note(self.asked.tenant, weights, said, latency_s, failed=failed)

    def hand_out(self, last: Piece | Exception) -> None:
        """Give the place back and hand the last piece out, or what went wrong."""
        # The place is free before the client hears the end: its next request finds it so.
        self._place.leave()
        if isinstance(last, Piece) and self.asked.on_end is not None:
            self.asked.on_end(last, time.monotonic() - self._began_at)
        self._ready.put_nowait(last)

    def _store(self, prompt: str, text: str, last: Piece) -> None:
        """Keep what was said; a person may rate even an answer that was not waited for.

        Such a half answer is kept without its idempotency key: trying again must bring the whole.
        """
        stored = self._feedback.record_interaction(
            tenant=self.asked.tenant,
            interaction_id=self.head.id,
            model_name=self.head.model_name,
            weight_hash=self.head.weight_hash,
            kind=self.head.kind,
            prompt=prompt,
            answer=text,
            person=self.asked.person,
            finish=last.finish or "cancelled",
            num_prompt_tokens=last.num_prompt_tokens,
            num_answer_tokens=last.num_answer_tokens,
            idempotency_key=self.asked.idempotency_key if last.finish else "",
            created_at=self.head.created_at,
        )
        if stored.id != self.head.id:
            raise AnsweredMeanwhile(
                "a request with the same idempotency key was answered meanwhile",
                fix="send it again to get that answer",
            )


class Desk:
    """Where answers are asked for: at most so many at once."""

    def __init__(
        self, models: LiveModels[LanguageHandle], feedback: FeedbackStore, admission: Admission
    ) -> None:
        self.models = models
        self.admission = admission
        self._feedback = feedback
        self._threads = ThreadPoolExecutor(admission.max_running, thread_name_prefix="noria-answer")
        self._answers: dict[Answer, LiveModel] = {}  # while they are written
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

    async def begin(self, asked: Asked, live: LiveModel | None = None) -> tuple[Answer, LiveModel]:
        """Wait for a place and begin with `live`, or with the model that is live then.

        The place is given back when the answer is written. Raises Busy, NothingLive.
        """
        place = await self.admission.enter(asked.tenant)
        try:
            # Whoever does not say who asks is somebody else each time.
            person = asked.person or uuid.uuid4().hex
            live = live or self.models.choose(asked.tenant, person)
            if live is None:
                raise NothingLive("no model is live", "a promoted version", "promote one first")
            answer = Answer(asked, live, self._feedback, place, self.models.signals, self._end)
            answer.begin(live.model)
        except BaseException:
            place.leave()
            raise
        self._answers[answer] = live
        return answer, live

    def _end(self, answer: Answer, last: Piece | Exception) -> None:
        loop, live = asyncio.get_running_loop(), self._answers[answer]

        def store() -> None:
            kept = answer.store(last, live.model)
            loop.call_soon_threadsafe(self._ended, answer, kept)
            self._copy(answer)

        self._threads.submit(store)

    def _ended(self, answer: Answer, last: Piece | Exception) -> None:
        del self._answers[answer]
        answer.hand_out(last)

    def _copy(self, answer: Answer) -> None:
        """Have the request answered in shadow too, if there is one."""
        asked = answer.asked
        tried = self.models.shadow(asked.tenant, answer.head.id)
        scored = not isinstance(asked.request, ChatRequest) and asked.request.is_scored
        if tried is None or scored or not answer.text:
            return

        def agreement() -> float:
            return overlap(answer.text, tried.model.whole_text(asked.wanted(tried.model)))

        weights, said = tried.version.weight_hash, asked.said
        self._shadow.copy(self.models.signals, asked.tenant, weights, said, agreement)

    async def close(self) -> None:
        """Stop every answer that is still being written and wait for the threads."""
        for answer in list(self._answers):
            answer.cancel()
        await asyncio.to_thread(self._threads.shutdown)
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
        texts = [asked.prompt(live.model)]
    return policy.refused_prompt(asked.tenant, texts)
