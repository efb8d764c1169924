"""One connection of HTTP/1.1: uvicorn's over h11, with what that leaves out.

In: bytes of a client. Out: requests for the application, or a refusal that ends the connection.
A head has to be whole in time, since clients that begin one and never end it would in the end hold
every descriptor that the process may have; and what is no HTTP at all is refused in the shape of
every other refusal. This module knows no route.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from noria.serve.guard import SECURITY_HEADERS
from noria.serve.refusals import refusal

MAX_HEAD_S = 30.0


class Connection(H11Protocol):
    """Made for each client that connects; everything is on the event loop."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected; from now on a head is awaited."""
        super().connection_made(transport)
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        """Some bytes have come."""
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed, by whomever."""
        self._forget_timer()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What has come can't be read; `msg` is uvicorn's own word for it."""
        self._refuse(400, "what was sent is no request of HTTP/1.1", "invalid_http")

    def _watch_head(self) -> None:
        """Have the timer run while a head is awaited, from its first byte or the connection's."""
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._forget_timer()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(MAX_HEAD_S, self._too_slow)

    def _forget_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        if self.conn.trailing_data[0]:
            self._refuse(408, f"a request whose head is whole after {MAX_HEAD_S:g} s", "too_slow")
        else:  # it said nothing, so nothing is answered
            self.transport.close()

    def _refuse(self, status: int, message: str, code: str) -> None:
        """Answer, unless another answer has begun, and close."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            said = refusal(status, message, code, headers=SECURITY_HEADERS)
            said.headers["Connection"] = "close"
            lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()]
            lines += [name + b": " + value for name, value in said.raw_headers]
            # Not by h11, to which the request that is refused was none.
            self.transport.write(b"\r\n".join([*lines, b"", bytes(said.body)]))
        self.transport.close()
