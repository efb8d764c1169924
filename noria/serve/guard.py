"""What every request meets first: no key, no entry; no body beyond the limit; safe headers.

In: raw requests. Out: to the routes only what a key holder sent, with `principal` in its state;
the page's requests carry a session's cookie instead of a key.
This stands before the body is read and before a route is chosen, so a new route is closed until
its path is put on the list of open ones. This module knows no route.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from noria.errors import NoriaError
from noria.serve.auth import KeyStore, Principal
from noria.serve.refusals import refusal, refusal_of
from noria.serve.sessions import Forged, Sessions

MAX_BODY_BYTES = 1 << 20
MAX_BODY_S = 30.0
SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
TLS_HEADERS = {"Strict-Transport-Security": "max-age=31536000"}  # a year (RFC 6797)


def bearer_secret(headers: Headers) -> str:
    """The secret of an `Authorization: Bearer …` header; "" if there is none (RFC 6750)."""
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


class Guard:
    """Wraps the application; `open_paths` are the only ones that are reached without a key."""

    def __init__(
        self, app: ASGIApp, keys: KeyStore, open_paths: Collection[str], sessions: Sessions
    ) -> None:
        self._app = app
        self._keys = keys
        self._sessions = sessions
        self._open_paths = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in or refuse it (the ASGI interface)."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})  # policy: nothing speaks it here
            return
        send = _with_headers(send, scope["scheme"] == "https")
        headers = Headers(scope=scope)
        try:
            principal = await self._principal(scope, headers)
        except NoriaError as error:
            await refusal_of(error)(scope, receive, send)
            return
        except Forged:
            await _forged()(scope, receive, send)
            return
        if principal is None and scope["path"] not in self._open_paths:
            refused = refusal(
                401,
                "a key is needed: Authorization: Bearer nk-…",
                "invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
            await refused(scope, receive, send)
            return
        if "transfer-encoding" in headers and "content-length" in headers:
            await _two_lengths()(scope, receive, send)
            return
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            await _too_large()(scope, receive, send)
            return
        scope.setdefault("state", {})["principal"] = principal
        await self._app(scope, _limited(receive), send)

    async def _principal(self, scope: Scope, headers: Headers) -> Principal | None:
        """Who sent this: by the key in the header, and only without one by the cookie."""
        if "authorization" in headers:
            secret = bearer_secret(headers)
            return await asyncio.to_thread(self._keys.check, secret) if secret else None
        if "cookie" not in headers:
            return None
        return await asyncio.to_thread(self._sessions.principal_of, scope, headers)


def _forged() -> ASGIApp:
    return refusal(403, "a request that changes something has to come from the page", "forged")


def _too_large() -> ASGIApp:
    return refusal(413, f"a body of at most {MAX_BODY_BYTES} bytes", "request_too_large")


def _two_lengths() -> ASGIApp:
    """Whoever stands before this server may have believed the other one (RFC 9112, 6.1)."""
    said = "one of Content-Length and Transfer-Encoding"
    return refusal(400, said, "invalid_http", headers={"Connection": "close"})


def _limited(receive: Receive) -> Receive:
    num_bytes = 0
    deadline: float | None = asyncio.get_running_loop().time() + MAX_BODY_S

    async def receive_some() -> Message:
        nonlocal num_bytes, deadline
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, f"a body that is whole after {MAX_BODY_S:g} s") from None
        num_bytes += len(message.get("body", b""))
        if not message.get("more_body", False):
            deadline = None  # what comes now is the client's going, at any time
        if num_bytes > MAX_BODY_BYTES:  # sent in chunks, without a length
            raise HTTPException(413, f"a body of at most {MAX_BODY_BYTES} bytes")
        return message

    return receive_some


def _with_headers(send: Send, over_tls: bool) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)  # the page names its own sources
            if over_tls:
                headers.update(TLS_HEADERS)
        await send(message)

    return send_with_headers
