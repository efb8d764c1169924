"""Sends requests for answers away before anything is read of them, while the queue is full.

In: requests of key holders. Out: to the application only what may find a place or a stored answer.
Under twenty times too many requests this is what most of them cost: no body, no route, no thread.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from noria.serve.admission import Admission, Refused
from noria.serve.refusals import refusal_when_full

ANSWER_PATHS = {  # how a path begins, and the pattern of its route
    "/v1/chat/completions": "/v1/chat/completions",
    "/v1/completions": "/v1/completions",
    "/v1/embeddings": "/v1/embeddings",
    "/v1/tasks/": "/v1/tasks/{name}",
}


class Doorman:
    """Wraps the application, inside of the guard."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in or send it away (the ASGI interface)."""
        wants_answer = (
            scope["type"] == "http"
            and scope["method"] == "POST"
            and scope["path"].startswith(tuple(ANSWER_PATHS))
            and "idempotency-key" not in Headers(scope=scope)  # it may be answered already
        )
        if wants_answer:
            try:
                self._admission.check(scope["state"]["principal"].tenant)
            except Refused as error:
                scope["state"]["refused_route"] = next(
                    route
                    for start, route in ANSWER_PATHS.items()
                    if scope["path"].startswith(start)
                )
                await refusal_when_full(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)
