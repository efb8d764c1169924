"""What the worker says: one thread makes text of tokens and sends it.

In: messages from any thread, tokens from engines. Out: frames. Whatever comes within a moment goes
into one: many answers cost little more than one.
This module knows no model; an answer makes its own messages.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import final

from noria.errors import NoriaError
from noria.serve.worker.frames import Message, frame_of
from noria.serve.worker.messages import error_to_json

MAX_MESSAGES = 256  # of one frame
GATHER_S = 0.002  # the tokens of a step come one by one: together they cost a fraction
MAX_LOG_FRAMES = 12

log = logging.getLogger(__name__)

Late = Callable[[], Message | None]  # makes a message when its turn comes, or none


@final
class Outgoing:
    """The worker's end of the line; `put` never waits."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._waiting: SimpleQueue[Message | Late] = SimpleQueue()

    def start(self) -> None:
        """Begin to send, in a thread."""
        threading.Thread(target=self._run, name="noria-outgoing", daemon=True).start()

    def put(self, message: Message | Late) -> None:
        """Send a message when its turn comes."""
        self._waiting.put(message)

    def _run(self) -> None:
        while True:
            messages = [one for one in map(_made, self._taken()) if one is not None]
            try:
                self._send(messages)
            except OSError:  # the server has gone: who reads the line ends the process
                return

    def _taken(self) -> Iterator[Message | Late]:
        yield self._waiting.get()
        time.sleep(GATHER_S)
        for _ in range(MAX_MESSAGES - 1):
            try:
                yield self._waiting.get_nowait()
            except Empty:
                return

    def _send(self, messages: list[Message]) -> None:
        try:
            data = frame_of(messages)
        except Exception:  # one is too large, or no JSON: the others go alone
            if len(messages) > 1:
                for one in messages:
                    self._send([one])
                return
            log.exception("an answer that does not fit the worker's line")
            error = NoriaError("an answer that does not fit the worker's line", "a smaller one")
            data = frame_of([{"id": messages[0].get("id"), "error": error_to_json(error)}])
        self._line.sendall(data)


def _made(message: Message | Late) -> Message | None:
    try:
        return message() if callable(message) else message
    except Exception:  # this thread speaks for everybody
        log.exception("a message could not be made")
        return None


@final
class ToldLog(logging.Handler):
    """Hands the worker's log to the server, which writes it where its own goes.

    As in the server's: nothing of a library's arguments, no message of an exception; they may be
    a user's text.
    """

    def __init__(self, outgoing: Outgoing) -> None:
        super().__init__(logging.WARNING)
        self._outgoing = outgoing

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        own = record.name.split(".")[0] == "noria"
        text = f"{record.name}: {record.getMessage() if own else record.msg}"
        if record.exc_info and record.exc_info[0] is not None:
            frames = traceback.extract_tb(record.exc_info[2])[-MAX_LOG_FRAMES:]
            where = " ".join(f"{Path(one.filename).name}:{one.lineno}" for one in frames)
            text += f" ({record.exc_info[0].__name__} at {where})"
        self._outgoing.put({"log": text, "level": record.levelno})
