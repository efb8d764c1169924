"""Clients of a registry, as processes of their own that may be killed, and what they have to leave.

A client logs each operation when it begins and when it ends, by the clock of the machine that all
processes share. `check_history` then asks whether there is one order of all operations that agrees
with those times and with a register of versions: linearizability (Herlihy and Wing 1990).

The search of Wing and Gong (1993) for such an order is over all permutations. Here the trail tells
the order of the writes, and with that order given what is left is to place each read between two of
them, which the earliest place that is allowed decides (Gibbons and Korach 1997, section 4).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sqlite3
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from noria.errors import UsageError
from noria.registry import Registry

NAME = ("acme", "helpdesk")
VERSIONS = tuple(letter * 64 for letter in "abcdef")
NEVER = 2**63

# Where a client kills itself: after the statement that begins so, at the commit, or between the
# commit and the answer.
FAILPOINTS = {
    "its turn began": "BEGIN IMMEDIATE",
    "the version before was noted": "INSERT INTO earlier",
    "the version before was taken off": "DELETE FROM earlier",
    "nothing is live": "DELETE FROM live",
    "the new pointer was written": "INSERT INTO live",
    "the trial was ended": "DELETE FROM trials",
    "the entry was written": "INSERT INTO audit ",
    "its texts were written": "INSERT INTO audit_texts",
    "all was written": "commit",
    "it was committed and not told": "told",
}


def make_registry(folder: Path) -> Path:
    """A registry with all versions known and the first one live; returns its path."""
    folder.mkdir(exist_ok=True)
    path = folder / "registry.sqlite"
    registry = Registry(path)
    for weights in VERSIONS:
        (folder / "artifacts" / weights[:8]).mkdir(parents=True)
        registry.register(*NAME, weights, f"artifacts/{weights[:8]}", "trained", "")
    registry.promote(*NAME, VERSIONS[0], "setup", "first")
    registry.close()
    return path


@dataclass(frozen=True)
class Operation:
    """What a client did: `ended` is NEVER and `result` "" if it was killed meanwhile."""

    key: str
    kind: str
    weights: str
    began: int
    ended: int
    result: str


def client(path: Path, log: Path, seed: str, num_operations: int, failpoint: str = "") -> None:
    """Promote, roll back and read at random; with a failpoint the first write ends there."""
    draw = random.Random(seed)
    registry = Registry(path)
    if failpoint:
        _kill_at(failpoint)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def tell(*what: Any) -> None:
        os.write(descriptor, (json.dumps(what) + "\n").encode())

    for number in range(num_operations):
        key = f"{seed}/{number}"
        kind = draw.choice(("promote", "promote", "rollback", "live"))
        weights = draw.choice(VERSIONS) if kind == "promote" else ""
        tell(key, kind, weights, time.monotonic_ns())
        result = _done(registry, key, kind, weights)
        if failpoint == "it was committed and not told":
            os.kill(os.getpid(), signal.SIGKILL)
        tell(key, time.monotonic_ns(), result)
    registry.close()


def _done(registry: Registry, key: str, kind: str, weights: str) -> str:
    if kind == "promote":
        return registry.promote(*NAME, weights, key, "test").weight_hash
    if kind == "rollback":
        try:
            return registry.rollback(*NAME, key, "test").weight_hash
        except UsageError:
            return "first"
    live = registry.live(*NAME)
    return live.weight_hash if live else "nothing"


def _kill_at(failpoint: str) -> None:
    wanted = FAILPOINTS[failpoint]

    def after(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(wanted):
            os.kill(os.getpid(), signal.SIGKILL)

    def at_commit(_: Any) -> None:
        if wanted == "commit":
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "after_cursor_execute", after)
    event.listen(Engine, "commit", at_commit)


@contextmanager
def clients() -> Iterator[Callable[..., Any]]:
    """Starts clients as forks of a process that has loaded the registry and nothing else."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["noria.registry"])
    started = []

    def start(*arguments: Any) -> Any:
        process = context.Process(target=client, args=arguments, daemon=True)
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        if process.is_alive():
            process.kill()
        process.join()
        process.close()


def read_log(log: Path) -> list[Operation]:
    """The operations of a client; of one that was killed the last may have no end."""
    operations: list[Operation] = []
    for line in log.read_text().splitlines() if log.exists() else ():
        key, *rest = json.loads(line)
        if len(rest) == 3:
            operations.append(Operation(key, rest[0], rest[1], rest[2], NEVER, ""))
        else:
            last = operations.pop()
            assert last.key == key
            operations.append(Operation(key, last.kind, last.weights, last.began, *rest))
    return operations


def check_state(path: Path, operations: list[Operation], *, whole_file: bool = True) -> None:
    """After a kill: one live version, a sound trail and file, and all that was acknowledged."""
    file = sqlite3.connect(path)
    assert file.execute("SELECT count(*) FROM live").fetchone() == (1,)
    if whole_file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    file.close()
    registry = Registry(path)
    registry.verify_chain()
    registry.close()
    check_history(path, operations)


def check_history(path: Path, operations: list[Operation]) -> None:
    """Whether the operations are linearizable as those of a register with a stack of versions."""
    registry = Registry(path)
    moves = [one for one in registry.history(*NAME) if one.action in ("promote", "rollback")]
    registry.close()
    written = {one.actor: number for number, one in enumerate(moves)}
    assert len(written) == len(moves)  # no operation was done twice
    states: list[tuple[str, ...]] = [()]  # states[n]: the stack after n moves
    for one in moves:
        before = states[-1]
        states.append((*before, one.weight_hash) if one.action == "promote" else before[:-1])
        assert states[-1][-1] == one.weight_hash

    writes = sorted((o for o in operations if o.key in written), key=lambda o: written[o.key])
    latest_began = 0
    for write in writes:
        assert latest_began <= write.ended, f"{write.key} was overtaken by a later one"
        latest_began = max(latest_began, write.began)
        assert write.result in ("", moves[written[write.key]].weight_hash)

    # A write that had ended before a read began is seen by it; one that began after it is not.
    by_end = sorted((w.ended, written[w.key] + 1) for w in writes if w.ended != NEVER)
    ends, least = [end for end, _ in by_end], [0, *accumulate((n for _, n in by_end), max)]
    by_begin = sorted(((w.began, written[w.key]) for w in writes), reverse=True)
    begins = sorted(w.began for w in writes)
    most = [*reversed(list(accumulate((n for _, n in by_begin), min))), len(moves)]
    reads = [o for o in operations if o.key not in written and o.ended != NEVER]
    placed: list[tuple[int, int]] = []  # (ended, place) of the reads so far, places ascending
    for read in sorted(reads, key=lambda o: o.ended):
        earlier = bisect_left(placed, (read.began, -1))
        first = max(least[bisect_left(ends, read.began)], placed[earlier - 1][1] if earlier else 0)
        last = most[bisect_left(begins, read.ended)]
        places = (at for at in range(first, last + 1) if _agrees(read, states[at]))
        place = next(places, None)
        assert place is not None, f"{read} fits nowhere from {first} to {last}"
        placed.append((read.ended, max(place, placed[-1][1] if placed else 0)))


def _agrees(read: Operation, stack: tuple[str, ...]) -> bool:
    """Whether an operation that wrote nothing could have seen this."""
    if read.kind == "rollback":
        return read.result == "first" and len(stack) < 2
    return bool(stack) and read.result == stack[-1]
