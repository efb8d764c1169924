"""Where answers are asked for: a place first, then the model that is live, then a worker.

In: checked requests. Out: answers that are being written, and copies of them in shadow.
This module knows no HTTP.
"""

from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor

from noria.evaluate.distance import overlap
from noria.feedback.interactions import Interaction
from noria.feedback.store import FeedbackStore
from noria.serve.admission import Admission
from noria.serve.answers import Answer
from noria.serve.asked import Asked, NothingLive
from noria.serve.live import LiveModel, LiveModels
from noria.serve.policy import Policy, Refusal
from noria.serve.protocol import ChatRequest
from noria.serve.shadow import Shadow
from noria.serve.worker.messages import Piece
from noria.serve.worker.models import LanguageHandle


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


def refused_by(policy: Policy, asked: Asked, desk: Desk) -> Refusal | None:
    """Why the policy refuses a request's prompt, if it does. Raises NothingLive."""
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
