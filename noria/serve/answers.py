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
from typing import Any

from noria.errors import UsageError
from noria.feedback.store import FeedbackStore
from noria.serve.admission import Place
from noria.serve.asked import AnsweredMeanwhile, Asked
from noria.serve.bodies import Head
from noria.serve.live import LiveModel
from noria.serve.live_signals import LiveSignals
from noria.serve.protocol import ChatRequest
from noria.serve.worker.messages import Piece, joined
from noria.serve.worker.models import Answering, LanguageHandle

ID_PREFIX = {"chat": "chatcmpl", "completion": "cmpl"}


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
        """The next piece; after one with `finish` there is none. Raises what went wrong.

        To a reader who is behind, all that has come goes as one.
        """
        piece = await self._ready.get()
        if isinstance(piece, Exception):
            raise piece
        pieces = [piece]
        while pieces[-1].finish is None and not self._ready.empty():
            following = self._ready.get_nowait()
            if isinstance(following, Exception):  # nothing comes after it
                self._ready.put_nowait(following)
                break
            pieces.append(following)
        return joined(pieces) if len(pieces) > 1 else piece

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
