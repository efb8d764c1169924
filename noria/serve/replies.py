"""Answers as responses: whole or streamed, new or asked for again.

In: a request and the desk where answers are written. Out: a response that ends when the answer
does, and an answer that ends when the client goes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from noria.errors import NoriaError
from noria.feedback.interactions import Interaction
from noria.serve.answers import Answer, Asked, Desk
from noria.serve.bodies import (
    STREAM_END,
    Head,
    event,
    first_chunks,
    text_chunk,
    usage,
    usage_chunk,
    whole_body,
)
from noria.serve.meter import EVENT_STREAM, INTERACTION_HEADER
from noria.serve.refusals import ClientGone, error_event
from noria.serve.scored import ScoredPiece
from noria.tasks.answer import Piece

WEIGHTS_HEADER = "X-Noria-Weight-Hash"

T = TypeVar("T")
log = logging.getLogger(__name__)


async def fresh_reply(request: Request, desk: Desk, asked: Asked) -> Response:
    """Write an answer and reply with it. Raises Busy, NothingLive, ClientGone.

    A stream begins with its first piece: what goes wrong before has a status of its own.
    """
    answer = await _unless_gone(request, desk.begin(asked))
    head = answer.head
    try:
        if asked.request.stream:
            first = await _unless_gone(request, answer.next())
            return AnswerStream(_events(asked, answer, first), answer)
        text, last = await _unless_gone(request, answer.whole())
    except BaseException:
        answer.cancel()
        raise
    counts = usage(last.num_prompt_tokens, last.num_answer_tokens)
    log_probs = None
    if isinstance(last, ScoredPiece):
        text, log_probs = last.echoed + text, last.log_probs
    body = whole_body(head, text, last.finish or "stop", counts, log_probs)
    return JSONResponse(body, headers=_headers(head))


def stored_reply(asked: Asked, stored: Interaction) -> Response:
    """Reply with an answer that was given before, by the weights that gave it."""
    head = Head(stored.id, stored.kind, stored.created_at, stored.model_name, stored.weight_hash)
    counts = usage(stored.num_prompt_tokens, stored.num_answer_tokens)
    if not asked.request.stream:
        body = whole_body(head, stored.answer, stored.finish, counts)
        return JSONResponse(body, headers=_headers(head))
    chunks = [*first_chunks(head), text_chunk(head, stored.answer, stored.finish)]
    events = [event(chunk) for chunk in chunks] + list(_ending(asked, head, counts))
    return Response(b"".join(events), media_type=EVENT_STREAM, headers=_headers(head))


class AnswerStream(StreamingResponse):
    """A streamed answer; however the stream ends, the answer ends with it."""

    def __init__(self, events: AsyncIterator[bytes], answer: Answer) -> None:
        super().__init__(events, media_type=EVENT_STREAM, headers=_headers(answer.head))
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream (the ASGI interface)."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answer.cancel()


def _headers(head: Head) -> dict[str, str]:
    return {WEIGHTS_HEADER: head.weight_hash, INTERACTION_HEADER: head.id}


async def _events(asked: Asked, answer: Answer, piece: Piece) -> AsyncIterator[bytes]:
    head = answer.head
    for chunk in first_chunks(head):
        yield event(chunk)
    try:
        while piece.finish is None:
            yield event(text_chunk(head, piece.text, None))
            piece = await answer.next()
    except NoriaError as error:  # the status is sent: only an event can say it now
        yield error_event(error)
        return
    except Exception:
        log.exception("answer %s broke off", head.id)
        yield error_event(NoriaError("the answer broke off"))
        return
    yield event(text_chunk(head, piece.text, piece.finish))
    for ending in _ending(asked, head, usage(piece.num_prompt_tokens, piece.num_answer_tokens)):
        yield ending


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
