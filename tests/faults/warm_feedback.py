"""A warm process whose children write feedback until they are killed, and say what was stored.

Asked: {"where": path or address, "key": file of master keys, "told": file} and one of
"kill_line": before the n-th line of the store's code that a write runs; "kill_at": at the n-th of a
named moment, as ["before commit", n]; neither: whoever asks kills it. {"open": path, "kill_line"}
only opens the store, which migrates an old one.

Three clients write interactions and corrections, numbered, each under an idempotency key. What was
acknowledged goes into the file before the next is sent; a client begins with the number after its
last acknowledged one, so what was stored and never acknowledged is sent again.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from sqlalchemy import event
from warm import serve

import noria.database
import noria.feedback.batches
import noria.feedback.keyring
import noria.feedback.migrations
import noria.feedback.writer
import noria.postgres
from noria.feedback.cipher import master_keys_of
from noria.feedback.store import FeedbackStore

CLIENTS = ("ann", "bo", "cy")
WRITES = 8  # of each client, if nobody kills it
WATCHED = {
    noria.database.__file__,
    noria.postgres.__file__,
    noria.feedback.batches.__file__,
    noria.feedback.keyring.__file__,
    noria.feedback.migrations.__file__,
    noria.feedback.writer.__file__,
}


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at_line(number: int) -> None:
    """Of any thread."""
    seen = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal seen
        if frame.f_code.co_filename not in WATCHED:
            return None
        if event == "line":
            seen += 1
            if seen == number:
                _kill()
        return trace

    threading.settrace(trace)
    sys.settrace(trace)


def kill_at(store: FeedbackStore, moment: str, number: int) -> Callable[[], None]:
    """Kill at the n-th time of a moment; returns what is called after an acknowledgement."""
    seen: Counter[str] = Counter()

    def reached(name: str) -> None:
        seen[name] += 1
        if name == moment and seen[name] == number:
            _kill()

    write = store._writer._store

    def stored(tenant: str, values: Any) -> Any:
        reached("before the transaction")
        results = write(tenant, values)
        reached("after commit")
        return results

    store._writer._store = stored
    engine = store.database._engine
    event.listen(engine, "before_cursor_execute", lambda *_: reached("before a statement"))
    event.listen(engine, "commit", lambda _: reached("before commit"))
    return lambda: reached("after acknowledging")


def acknowledged(told: Path) -> dict[str, int]:
    """The last number of each client that was acknowledged; a torn last line counts for nothing."""
    text = told.read_text() if told.exists() else ""
    pairs = [line.split() for line in text.split("\n")[:-1]]
    return {client: int(number) for client, number in pairs}


def child(asked: dict[str, Any]) -> int:
    if "open" in asked:
        kill_at_line(asked["kill_line"])
        FeedbackStore(Path(asked["open"])).close()
        return 0
    where = asked["where"]
    store = FeedbackStore(
        where if where.startswith("postgresql") else Path(where),
        master=master_keys_of(Path(asked["key"])),
    )
    told = Path(asked["told"])
    last = acknowledged(told)
    descriptor = os.open(told, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    after = kill_at(store, *asked.get("kill_at", ("never", 0)))

    def write(client: str) -> None:
        first = last.get(client, 0) + 1
        for number in range(first, first + WRITES):
            store.record_interaction(
                tenant="acme",
                interaction_id=f"{client}-{number}",
                model_name="m",
                weight_hash="ab" * 32,
                kind="completion",
                prompt=f"Where is parcel {number}?",
                answer="On its way.",
                person=client,
                idempotency_key=f"ask {client} {number}",
            )
            store.record_feedback(
                "acme",
                f"{client}-{number}",
                "correction",
                f"It arrived. {number}",
                person=client,
                idempotency_key=f"say {client} {number}",
            )
            os.write(descriptor, f"{client} {number}\n".encode())
            after()

    if "kill_line" in asked:
        kill_at_line(asked["kill_line"])
    clients = [threading.Thread(target=write, args=(client,)) for client in CLIENTS]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    store.close()
    return 0


if __name__ == "__main__":
    serve(child)
