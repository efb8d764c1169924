"""Whether a form can be read at all, found out by a process that may end of it.

In: a form that a tenant's client asks for. Out: nothing, or UsageError. The library bounds what a
token costs, not what reading a form does: patterns that must all hold can take it for ever, and
deep nesting can use up the stack. So a process of its own reads each new form first, for a few
seconds at most, and each form once. A tenant has one such process at a time, and the tenants take
turns at a few; so whoever sends slow forms waits for them alone.
This module knows no model.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from noria.generate.constrain import grammars_of, not_enforced
from noria.generate.forms import Constraint
from noria.serve.worker.messages import TooManyForms, WorkerGone
from noria.tokenizer.load import Tokenizer

NUM_READERS = 2  # so that one tenant's slow form never stands before another tenant's
MAX_NEW_FORMS = 4  # of a tenant, that are read or wait for it; the same form counts once
_MAX_KNOWN = 10_000
_MAX_TOLD_CHARACTERS = 300


@dataclass(frozen=True)
class Fault:
    """What is wrong with a form, and the place of the grammar that it is wrong with."""

    told: str
    place: int


def fault_by_process(grammars: Sequence[str]) -> Fault | None:
    """What the process that reads a form's grammars says is wrong, if anything is.

    Raises WorkerGone if it ends before it reads any: that is no fault of the form.
    """
    read = subprocess.run(
        # -P: no folder that this process happens to be in is looked into for modules.
        [sys.executable, "-P", "-m", "noria.serve.worker.form_reader"],
        input=json.dumps(grammars).encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    begun = len(read.stdout) - len(read.stdout.lstrip(b"\0"))
    if not begun:
        raise WorkerGone(
            "a process that could not begin to read a form", "one that does", "try again"
        )
    told = read.stdout[begun:].decode()[:_MAX_TOLD_CHARACTERS].strip()
    if read.returncode:
        told = "it takes too long to read, or too much memory"
    return Fault(told, begun - 1) if told else None


@final
class FormReaders:
    """Reads forms for all tenants; for any thread, each of which waits for its own."""

    def __init__(
        self, fault_of: Callable[[Sequence[str]], Fault | None] = fault_by_process
    ) -> None:
        self._fault_of = fault_of
        self._known: dict[bytes, Fault | None] = {}  # by the SHA-256 of a form's whole grammar
        self._changed = threading.Condition()
        # How many wait for each form, by tenant: who was served last is last.
        self._queues: dict[str, Counter[bytes]] = {}
        self._reading: set[str] = set()  # tenants

    def check(
        self,
        tenant: str,
        tokenizer: Tokenizer,
        constraint: Constraint,
        is_wanted: Callable[[], bool],
    ) -> None:
        """Raise UsageError for a form that can't be enforced, or not be read soon.

        Raises TooManyForms where too many of the tenant's wait. It returns early, and reads
        nothing, once the form is not wanted any more (see `look_again`).
        """
        grammars = grammars_of(tokenizer, constraint)
        key = hashlib.sha256(grammars[-1].encode("utf-8", "surrogatepass")).digest()
        fault = self._found(tenant, key, grammars, is_wanted)
        if fault is not None:
            raise not_enforced(constraint, fault.told, fault.place)

    def look_again(self) -> None:
        """Some form may not be wanted any more."""
        with self._changed:
            self._changed.notify_all()

    def _found(
        self, tenant: str, key: bytes, grammars: Sequence[str], is_wanted: Callable[[], bool]
    ) -> Fault | None:
        with self._changed:
            if key in self._known:
                return self._known[key]
            self._join(tenant, key)
            try:
                while is_wanted() and key not in self._known:
                    if self._is_next(tenant, key):
                        self._read(tenant, key, grammars)
                    else:
                        self._changed.wait()
                return self._known.get(key)
            finally:
                self._leave(tenant, key)

    def _join(self, tenant: str, key: bytes) -> None:
        queue = self._queues.setdefault(tenant, Counter())
        if key not in queue and len(queue) >= MAX_NEW_FORMS:
            raise TooManyForms(
                f"{len(queue)} new forms that wait to be read",
                f"at most {MAX_NEW_FORMS} new forms at once",
                "try again later",
            )
        queue[key] += 1

    def _leave(self, tenant: str, key: bytes) -> None:
        queue = self._queues[tenant]
        queue[key] -= 1
        if not queue[key]:
            del queue[key]
        if not queue:
            del self._queues[tenant]
        self._changed.notify_all()

    def _is_next(self, tenant: str, key: bytes) -> bool:
        if len(self._reading) >= NUM_READERS:
            return False
        turn = next((one for one in self._queues if one not in self._reading), None)
        return turn == tenant and next(iter(self._queues[tenant])) == key

    def _read(self, tenant: str, key: bytes, grammars: Sequence[str]) -> None:
        """Read it now; meanwhile the lock, which must be held, is free."""
        self._reading.add(tenant)
        self._queues[tenant] = self._queues.pop(tenant)
        self._changed.release()
        try:
            fault = self._fault_of(grammars)
        finally:
            self._changed.acquire()
            self._reading.discard(tenant)
            self._changed.notify_all()
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[key] = fault
