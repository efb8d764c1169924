"""The server's end of the line to one worker, from its start to its end.

In: what is asked, from any thread. Out: results and messages, on the thread that listens. When the
worker ends, however it does, all who wait hear WorkerGone. This module does not know what is asked.
"""

from __future__ import annotations

import itertools
import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, final

from noria.errors import FormatError, NoriaError
from noria.serve.worker.frames import Message, frame_of, read_frame
from noria.serve.worker.messages import WorkerGone, error_from_json

Hear = Callable[[Message | NoriaError], None]
LOGGED_CHARACTERS = 2000
READY = 0  # the id of the message that a worker begins with

log = logging.getLogger("noria.serve.worker")


def gone() -> WorkerGone:
    """The error of whoever waited for a worker that has ended."""
    return WorkerGone("the process that answers has ended", "one that runs", "try again")


@final
class Link:
    """One worker's line; `listen` is for one thread, everything else for any."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._ids = itertools.count(READY + 1)
        self._heard: dict[int, Hear] = {}
        self._lock = threading.Lock()
        self._sending: SimpleQueue[bytes | None] = SimpleQueue()
        self.loaded: set[int] = set()  # the numbers of models that are in the worker's memory
        self.is_ready = False
        self.has_ended = False

    def listen(self, ready: Callable[[], None]) -> None:
        """Read until the line ends; `ready` is called once the worker may be asked."""
        self._heard[READY] = lambda _: ready()
        threading.Thread(target=self._send, name="noria-worker-line", daemon=True).start()
        with self._line.makefile("rb") as incoming, suppress(OSError):
            while True:
                try:
                    messages = read_frame(incoming)
                except FormatError as error:  # it is not ours any more
                    log.warning("the worker's line: %s", error)
                    break
                if messages is None:
                    break
                for one in messages:
                    self._hear(one)
        self._end()

    def _hear(self, message: Message) -> None:
        if "log" in message:
            level = logging.ERROR if message.get("level") == logging.ERROR else logging.WARNING
            log.log(level, "%s", str(message["log"])[:LOGGED_CHARACTERS])
            return
        if "unloaded" in message:
            self.loaded.discard(message["unloaded"])
            return
        is_last = "result" in message or "error" in message or "last" in message
        with self._lock:
            number = message.get("id", -1)
            hear = self._heard.pop(number, None) if is_last else self._heard.get(number)
        if hear is None:  # nobody waits for it any more
            return
        try:
            hear(error_from_json(message["error"]) if "error" in message else message)
        except Exception:  # who hears must not end the line for all others
            log.exception("a message of the worker could not be taken")

    def _end(self) -> None:
        with self._lock:
            self.has_ended = True
            waiting, self._heard = list(self._heard.values()), {}
        self._sending.put(None)
        for hear in waiting:
            with suppress(Exception):  # as above; an event loop may be closed by now
                hear(gone())

    def _send(self) -> None:
        while (data := self._sending.get()) is not None:
            try:
                self._line.sendall(data)
            except OSError:  # it has ended, as `listen` sees too
                return

    def close(self) -> None:
        """End the line, and with it the worker."""
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)

    def ask(self, message: Message, hear: Hear) -> int:
        """Send a message with an id of its own; whatever comes back under it goes to `hear`.

        The last message has a result, an error, or says that it is the last. Returns the id.
        Raises WorkerGone.
        """
        number = next(self._ids)
        with self._lock:
            if self.has_ended:
                raise gone()
            self._heard[number] = hear
        try:
            self._sending.put(frame_of([{**message, "id": number}]))
        except BaseException:
            self.forget(number)
            raise
        return number

    def forget(self, number: int) -> None:
        """Hear nothing more under this id."""
        with self._lock:
            self._heard.pop(number, None)

    def tell(self, message: Message) -> None:
        """Send a message that is not answered; it is lost if the worker has ended.

        It takes no lock, so that even a finalizer may call it.
        """
        self._sending.put(frame_of([message]))

    def call(self, message: Message, within_s: float | None = None) -> Any:
        """Send a message and wait for its result.

        Raises what the worker did, WorkerGone, or TimeoutError.
        """
        result: Future[Any] = Future()

        def hear(heard: Message | NoriaError) -> None:
            if isinstance(heard, NoriaError):
                result.set_exception(heard)
            else:
                result.set_result(heard.get("result"))

        number = self.ask(message, hear)
        try:
            return result.result(within_s)
        except TimeoutError:
            self.forget(number)
            raise
