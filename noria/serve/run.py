"""Run the application on a socket that is bound here, until somebody says stop.

In: an application, an address, whom to tell when it answers. Out: nothing, when it has stopped.
SIGTERM and Ctrl-C let answers that are being written, or wait to be, end first; meanwhile the
server still listens, so that who comes new hears 503 and tries elsewhere. This module knows no
route.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from noria.errors import PortInUse, UsageError
from noria.serve.admission import Admission
from noria.serve.connection import Connection

DRAIN_S = 30
BACKLOG = 256


@dataclass(frozen=True)
class Tls:
    """Files in PEM: the certificate with its chain, and its key, which has no password."""

    certificate: Path
    key: Path

    def check(self) -> None:
        """Raise UsageError if a server can't be run with them."""
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate, self.key, password=lambda: b"")
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise UsageError(
                f"{self.certificate} and {self.key} can't be used ({error})",
                "a certificate and its key in PEM, without a password",
                "check --tls-cert and --tls-key",
            ) from error


def serve(
    app: FastAPI,
    host: str,
    port: int,
    ready: Callable[[str], None],
    *,
    stop_with_stdin: bool = False,
    stop: threading.Event | None = None,
    drain: Admission | None = None,
    tls: Tls | None = None,
) -> None:
    """Serve until SIGTERM, Ctrl-C, `stop`, or (if asked for) the end of standard input.

    `ready` is called with the URL once requests are answered; port 0 takes any free one. `drain` is
    the queue that has to be empty before it stops, for DRAIN_S at most. Raises PortInUse if the
    address is taken, UsageError if it is none of this machine's or the certificate can't be used.
    """
    if tls is not None:
        tls.check()
    with bound_socket(host, port) as listening:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            http=Connection,
            ws="none",
            lifespan="on",
            timeout_graceful_shutdown=DRAIN_S,
            ssl_certfile=tls.certificate if tls else None,
            ssl_keyfile=tls.key if tls else None,
        )
        scheme = "https" if tls else "http"
        server = _Server(config, lambda: ready(url_of(listening, host, scheme)), drain)
        if stop_with_stdin:
            _in_background(server, _wait_for_end_of_stdin)
        if stop is not None:
            _in_background(server, stop.wait)
        server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """uvicorn's server; it tells when it answers, and a signal ends it like any other end."""

    def __init__(
        self, config: uvicorn.Config, ready: Callable[[], None], queue: Admission | None
    ) -> None:
        super().__init__(config)
        self._ready = ready
        self._queue = queue
        self._give_up_at: float | None = None

    def drain(self) -> None:
        """Begin nothing new and stop as soon as what was begun has ended."""
        if self._queue is None:
            self.should_exit = True
        elif self._give_up_at is None:
            self._queue.draining = True
            self._give_up_at = time.monotonic() + DRAIN_S

    async def on_tick(self, counter: int) -> bool:
        if self._queue is not None and self._give_up_at is not None:
            idle = not self._queue.num_running and not self._queue.num_waiting
            if idle or time.monotonic() > self._give_up_at:
                self.should_exit = True
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal again when it has stopped, which would end the process before
        # its databases are closed.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {one: signal.signal(one, self._asked) for one in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def _asked(self, _number: int, _frame: FrameType | None) -> None:
        if self.should_exit or self._give_up_at is not None:  # asked twice: wait for no answer
            self.force_exit = self.should_exit = True
        self.drain()


@contextmanager
def bound_socket(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket of that address. Raises PortInUse, UsageError."""
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise UsageError(f"host {host!r}", "a name or address of this machine") from error
    family, _, _, _, address = found[0]
    # TCP is named: asyncio turns Nagle's waiting off only for sockets that say so, and with it on
    # the second part of an answer waits 40 ms for the client to acknowledge the first.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(address)
            listening.listen(BACKLOG)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(
                    f"{host}:{port} is taken", "a free port", "choose another with --port, or 0"
                ) from error
            raise UsageError(
                f"{host}:{port} can't be listened on ({error.strerror})",
                "an address of this machine and a port that this user may take",
            ) from error
        yield listening


def url_of(listening: socket.socket, host: str, scheme: str = "http") -> str:
    """The URL under which this machine reaches the socket."""
    port = listening.getsockname()[1]
    if host in ("", "0.0.0.0", "::"):  # every address of the machine; this one always works
        host = "127.0.0.1"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _in_background(server: _Server, wait: Callable[[], object]) -> None:
    """Stop the server when `wait` returns."""

    def stop_after() -> None:
        wait()
        server.drain()

    threading.Thread(target=stop_after, name="noria-stop", daemon=True).start()


def _wait_for_end_of_stdin() -> None:
    # Not sys.stdin: its lock, held by this thread, would trouble the interpreter's end.
    with suppress(OSError):  # no standard input at all is an ended one
        while os.read(0, 4096):
            pass
