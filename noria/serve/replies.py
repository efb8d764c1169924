"""Answers as responses: whole or streamed, new or asked for again.

In: a request and the desk where answers are written. Out: a response that ends when the answer
does, and an answer that ends when the client goes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from noria.errors import NoriaError
from noria.feedback.interactions import Interaction
from noria.serve.answers import Answer
from noria.serve.asked import Asked
from noria.serve.bodies import (
    STREAM_END,
    Head,
    Written,
    event,
    first_chunks,
    text_chunk,
    usage,
    usage_chunk,
    whole_body,
)
from noria.serve.calls import Telling
from noria.serve.desk import Desk
from noria.serve.live import LiveModel
from noria.serve.meter import EVENT_STREAM, INTERACTION_HEADER
from noria.serve.refusals import ClientGone, error_event
from noria.serve.worker.messages import Piece

WEIGHTS_HEADER = "X-Noria-Weight-Hash"

T = TypeVar("T")
log = logging.getLogger(__name__)


async def fresh_reply(request: Request, desk: Desk, asked: Asked) -> Response:
    """Write one answer or several, and reply. Raises Busy, NothingLive, ClientGone.

    A stream begins with its first piece: what goes wrong before has a status of its own.
    """
    answers: list[Answer] = []
    live: LiveModel | None = None
    try:
        for number in range(asked.request.n or 1):  # all by the same weights
            begun = desk.begin(replace(asked, number=number), live)
            answer, live = await _unless_gone(request, begun)
            answers.append(answer)
        live = None  # it leaves the memory with the last answer, however long this reply takes
        if asked.request.stream:
            first = await _unless_gone(request, answers[0].next())
            return AnswerStream(_events(asked, answers, first), answers)
        ends = [await _unless_gone(request, one.whole()) for one in answers]
    except BaseException:
        live = None
        for one in answers:
            one.cancel()
        raise
    head = answers[0].head
    several = len(answers) > 1
    written = [
        _written(asked, answer, text, last, answer.head.id if several else "")
        for answer, (text, last) in zip(answers, ends, strict=True)
    ]
    body = whole_body(head, written, _usage([last for _, last in ends]))
    return JSONResponse(body, headers=_headers(head))


def _written(asked: Asked, answer: Answer, text: str, last: Piece, interaction_id: str) -> Written:
    finish = last.finish or "stop"
    told = Telling(answer.head.id, asked.may_call).tell(text, finish)
    whole = last.echoed + told.text
    return Written(whole, told.finish or finish, answer.log_probs(last), interaction_id, told.call)


def _usage(last: Sequence[Piece]) -> dict[str, int]:
    """The prompt counts once, as OpenAI counts it."""
    return usage(last[0].num_prompt_tokens, sum(one.num_answer_tokens for one in last))


def stored_reply(asked: Asked, stored: Interaction) -> Response:
    """Reply with an answer that was given before, by the weights that gave it."""
    head = Head(stored.id, stored.kind, stored.created_at, stored.model_name, stored.weight_hash)
    counts = usage(stored.num_prompt_tokens, stored.num_answer_tokens)
    told = Telling(stored.id, asked.may_call).tell(stored.answer, stored.finish)
    finish = told.finish or stored.finish
    if not asked.request.stream:
        written = Written(told.text, finish, call=told.call)
        return JSONResponse(whole_body(head, [written], counts), headers=_headers(head))
    chunks = [*first_chunks(head), text_chunk(head, told.text, finish, call=told.call)]
    events = [event(chunk) for chunk in chunks] + list(_ending(asked, head, counts))
    return Response(b"".join(events), media_type=EVENT_STREAM, headers=_headers(head))


class AnswerStream(StreamingResponse):
    """Streamed answers; however the stream ends, they end with it."""

    def __init__(self, events: AsyncIterator[bytes], answers: Sequence[Answer]) -> None:
        super().__init__(events, media_type=EVENT_STREAM, headers=_headers(answers[0].head))
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream (the ASGI interface)."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            for one in self._answers:
                one.cancel()


def _headers(head: Head) -> dict[str, str]:
    return {WEIGHTS_HEADER: head.weight_hash, INTERACTION_HEADER: head.id}


async def _events(asked: Asked, answers: Sequence[Answer], first: Piece) -> AsyncIterator[bytes]:
    head, several = answers[0].head, len(answers) > 1
    for chunk in first_chunks(head, len(answers)):
        yield event(chunk)
    last: list[Piece] = []
    tellings = [Telling(one.head.id, asked.may_call) for one in answers]
    try:
        async for index, piece in _merged(answers, first):
            answer = answers[index]
            log_probs = answer.log_probs(piece)
            interaction_id = ""
            if piece.finish is not None:
                last.append(piece)
                interaction_id = answer.head.id if several else ""
            told = tellings[index].tell(piece.text, piece.finish)
            yield event(
                text_chunk(
                    head, told.text, told.finish, index, log_probs, interaction_id, told.call
                )
            )
    except NoriaError as error:  # the status is sent: only an event can say it now
        yield error_event(error)
        return
    except Exception:
        log.exception("answer %s broke off", head.id)
        yield error_event(NoriaError("the answer broke off"))
        return
    for ending in _ending(asked, head, _usage(last)):
        yield ending


async def _merged(answers: Sequence[Answer], first: Piece) -> AsyncIterator[tuple[int, Piece]]:
    """The pieces of all answers as they come, `first` being the first one's own."""
    yield 0, first
    if len(answers) == 1:  # without a task for each piece
        while first.finish is None:
            first = await answers[0].next()
            yield 0, first
        return
    waiting = {
        asyncio.ensure_future(answer.next()): index
        for index, answer in enumerate(answers)
        if index or first.finish is None
    }
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                index = waiting.pop(one)
                piece = one.result()
                if piece.finish is None:
                    waiting[asyncio.ensure_future(answers[index].next())] = index
                yield index, piece
    finally:
        for one in waiting:
            one.cancel()


def _ending(asked: Asked, head: Head, counts: dict[str, int]) -> Iterator[bytes]:
    if asked.request.wants_usage:
        yield event(usage_chunk(head, counts))
    yield STREAM_END


async def _unless_gone(request: Request, coroutine: Coroutine[Any, Any, T]) -> T:
    """What the coroutine returns, unless the client closes the connection before."""
    work = asyncio.create_task(coroutine)
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientGone
        return work.result()
    finally:
        work.cancel()
        gone.cancel()
        await asyncio.gather(work, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
