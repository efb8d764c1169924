"""One look at every request from outside: how it was answered and how long it took.

In: requests and what the application answers. Out: counts, and one line of the log for each.
Neither has a word of a request or an answer: routes are told by their pattern, never by the path
that was asked for.
"""

from __future__ import annotations

import logging
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from noria.serve.metrics import Metrics
from noria.serve.tracing import Tracer

EVENT_STREAM = "text/event-stream"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
INTERACTION_HEADER = "X-Noria-Interaction-Id"

log = logging.getLogger("noria.serve.requests")


class Meter:
    """Wraps the application, outside of the guard."""

    def __init__(self, app: ASGIApp, metrics: Metrics, tracer: Tracer | None = None) -> None:
        self._app = app
        self._metrics = metrics
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and note its end (the ASGI interface)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = _Seen(send)
        try:
            await self._app(scope, receive, seen.send)
        except Exception:
            seen.status = seen.status or 500  # who stands outside of this answers so
            raise
        finally:
            self._note(scope, seen)

    def _note(self, scope: Scope, seen: _Seen) -> None:
        elapsed_s = time.monotonic() - seen.began_at
        state = scope.get("state", {})
        principal = state.get("principal")
        route = getattr(scope.get("route"), "path", "") or state.get("refused_route", "")
        if principal is not None:
            metrics = self._metrics.of(principal.tenant)
            metrics.requests.labels(route, str(seen.status)).inc()
            if seen.first_piece_s is not None:
                metrics.first_token_s.observe(seen.first_piece_s)
        request = {
            "method": scope["method"] if scope["method"] in METHODS else "",
            "route": route,
            "status": seen.status,
            "seconds": round(elapsed_s, 6),
            "bytes": seen.num_bytes,
            "tenant": principal.tenant if principal else "",
            "key": principal.key_id if principal else "",
            "interaction": seen.interaction_id,
        }
        log.info("request", extra={"request": request})
        if self._tracer is not None:
            traceparent = Headers(scope=scope).get("traceparent", "")
            self._tracer.ended(request, traceparent, time.time() - elapsed_s)


class _Seen:
    """What went out; status 0: nothing."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.began_at = time.monotonic()
        self.status = 0
        self.num_bytes = 0
        self.interaction_id = ""
        self.first_piece_s: float | None = None
        self._streams = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = Headers(raw=message["headers"])
            self.status = message["status"]
            self.interaction_id = headers.get(INTERACTION_HEADER, "")
            self._streams = headers.get("content-type", "").startswith(EVENT_STREAM)
        elif message["type"] == "http.response.body":
            body = message.get("body", b"")
            if body and self._streams and self.first_piece_s is None:
                self.first_piece_s = time.monotonic() - self.began_at
            self.num_bytes += len(body)
        await self._send(message)
