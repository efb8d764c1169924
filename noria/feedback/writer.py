"""Group commit: whoever waits for the disk at the same moment waits once, together.

In: items of many threads, each of one tenant. Out: to each thread its own result, after the
transaction that holds its item is on disk. There is no thread of its own: the first who comes
writes for everyone who waits, then the first of those who came meanwhile does. An item that fails
alone is reported alone; what fails a transaction is tried again item by item, so that one that is
too large does not take others with it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from noria.errors import NoriaError, StorageError

MAX_BATCH = 512  # far below the number of values that a statement may have
GATHER_S = 0.002  # who was just answered comes again; about the time of one fsync
SLOW_S = 1.0  # what fails so slowly was waited for in vain, and would be again for each item

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(eq=False)
class _Waiting(Generic[Item, Result]):
    """One item and what came of it; who is woken without an outcome writes."""

    tenant: str
    item: Item
    outcome: tuple[Result | None, BaseException | None] | None = None
    woken: threading.Event = field(default_factory=threading.Event)

    def result(self) -> Result:
        """What came of it. Raises what was raised for it."""
        assert self.outcome is not None
        result, error = self.outcome
        if error is not None:
            raise error
        assert result is not None
        return result


class GroupWriter(Generic[Item, Result]):
    """Hands items of one tenant at a time to `store`, which commits them in one transaction.

    `store` returns for each item its result or the error that is its own.
    """

    def __init__(self, store: Callable[[str, Sequence[Item]], list[Result | NoriaError]]) -> None:
        self._store = store
        self._queue: list[_Waiting[Item, Result]] = []
        self._lock = threading.Lock()  # of the queue, and of who writes
        self._somebody_writes = False
        self._num_together = 1  # in the last transaction

    def write(self, tenant: str, item: Item) -> Result:
        """Store one item; returns when it is on disk. Raises what `store` says of it."""
        mine: _Waiting[Item, Result] = _Waiting(tenant, item)
        with self._lock:
            self._queue.append(mine)
            if not self._somebody_writes:
                self._wake_next()
        try:
            mine.woken.wait()
            if mine.outcome is None:
                self._write_some()
        except BaseException:
            self._leave(mine)
            raise
        return mine.result()

    def _wake_next(self) -> None:
        """Let the first in the queue write; the caller holds the lock."""
        self._somebody_writes = bool(self._queue)
        if self._queue:
            self._queue[0].woken.set()

    def _leave(self, mine: _Waiting[Item, Result]) -> None:
        """Out of the queue, because this thread was interrupted; if it was to write, another is."""
        with self._lock:
            if mine in self._queue:
                self._queue.remove(mine)
                if mine.woken.is_set():
                    self._wake_next()

    def _write_some(self) -> None:
        """Write what the one who has waited longest and others of that tenant wait for."""
        if self._num_together > 1:
            time.sleep(GATHER_S)
        with self._lock:
            tenant = self._queue[0].tenant
            batch = [one for one in self._queue if one.tenant == tenant][:MAX_BATCH]
            taken = set(map(id, batch))
            self._queue = [one for one in self._queue if id(one) not in taken]
        self._num_together = len(batch)
        try:
            self._write_batch(tenant, batch)
        finally:
            for one in batch:  # a writer that was interrupted leaves nobody waiting
                if one.outcome is None:
                    one.outcome = None, StorageError("the write was interrupted", "", "try again")
            with self._lock:
                self._wake_next()
            for one in batch:
                one.woken.set()

    def _write_batch(self, tenant: str, batch: Sequence[_Waiting[Item, Result]]) -> None:
        begun_at = time.monotonic()
        try:
            stored = self._store(tenant, [one.item for one in batch])
        except Exception as error:
            if len(batch) == 1 or time.monotonic() - begun_at > SLOW_S:
                for one in batch:
                    one.outcome = None, error
                return
            for one in batch:
                self._write_batch(tenant, [one])
            return
        for one, result in zip(batch, stored, strict=True):
            one.outcome = (None, result) if isinstance(result, NoriaError) else (result, None)
