"""Who may begin an answer now, who waits, who is sent away at once.

In: requests that come and answers that end, all on one event loop. Out: a place, or Refused.
Tenants take turns: a free place goes to the one who waits and has the fewest running, and when the
queue is full, who has the most waiting gives way. This module knows no model and no HTTP.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque

from noria.errors import UsageError

MAX_RETRY_AFTER_S = 60
_FIRST_GUESS_S = 1.0
_WEIGHT_OF_NEWEST = 0.2


class Refused(Exception):
    """No place now; `retry_after_s` says when to try again."""

    def __init__(self, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"try again in {retry_after_s} s")


class Busy(Refused):
    """All places are taken and so is the queue."""


class Overdue(Refused):
    """The request waited in the queue for as long as it may."""


class Draining(Refused):
    """The server is about to stop and begins nothing new."""


class Place:
    """One answer's place; given back once, however often `leave` is called."""

    def __init__(self, admission: Admission, tenant: str) -> None:
        self._admission: Admission | None = admission
        self._tenant = tenant
        self._began_at = time.monotonic()

    def leave(self) -> None:
        """Give the place to the next who waits."""
        if self._admission is not None:
            self._admission._left(self._tenant, time.monotonic() - self._began_at)
            self._admission = None


class Admission:
    """At most `max_running` answers at once and `max_waiting` requests in the queue.

    Nobody waits longer than `max_wait_s`. Of one tenant the first to come is the first to begin.
    """

    def __init__(self, max_running: int, max_waiting: int, max_wait_s: float | None = None) -> None:
        if max_running < 1 or max_waiting < 0:
            raise UsageError(f"{max_running} places, {max_waiting} waiting", "1 or more, 0 or more")
        if max_wait_s is not None and not max_wait_s > 0:
            raise UsageError(f"{max_wait_s} s of waiting", "more than 0")
        self.max_running = max_running
        self.max_waiting = max_waiting
        self.max_wait_s = max_wait_s
        self.num_running = 0
        self.num_waiting = 0
        self.draining = False
        self._running: Counter[str] = Counter()
        self._queues: dict[str, deque[asyncio.Future[Place]]] = {}  # who was served last is last
        self._answer_s = _FIRST_GUESS_S

    async def enter(self, tenant: str = "") -> Place:
        """Wait for a place.

        Raises Busy if the queue is full, Draining, Overdue; may be cancelled.
        """
        self.check(tenant)
        if self.num_running < self.max_running and not self.num_waiting:
            return self._begin(tenant)
        self._make_room()
        turn: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(tenant, deque()).append(turn)
        self.num_waiting += 1
        try:
            async with asyncio.timeout(self.max_wait_s):
                return await turn
        except BaseException as error:
            self._give_up(tenant, turn)
            if isinstance(error, TimeoutError):
                raise Overdue(self._retry_after_s()) from None
            raise

    def check(self, tenant: str) -> None:
        """Raise what `enter` would raise at once. Changes nothing."""
        if self.draining:
            raise Draining(self._retry_after_s())
        if self.num_running < self.max_running or self.num_waiting < self.max_waiting:
            return
        # In a full queue only a larger share than one's own gives way.
        if len(self._largest()) <= len(self._queues.get(tenant, ())) + 1:
            raise Busy(self._retry_after_s())

    def _largest(self) -> deque[asyncio.Future[Place]]:
        return max(self._queues.values(), key=len, default=deque())

    def _begin(self, tenant: str) -> Place:
        self.num_running += 1
        self._running[tenant] += 1
        return Place(self, tenant)

    def _make_room(self) -> None:
        """Send the newest of the tenant with most away, if the queue is full."""
        if self.num_waiting < self.max_waiting:
            return
        largest = max(self._queues, key=lambda one: len(self._queues[one]))
        newest = self._queues[largest][-1]
        self._take_out(largest, newest)
        if not newest.done():  # else it goes by itself
            newest.set_exception(Busy(self._retry_after_s()))

    def _give_up(self, tenant: str, turn: asyncio.Future[Place]) -> None:
        self._take_out(tenant, turn)
        if turn.done() and not turn.cancelled() and turn.exception() is None:
            turn.result().leave()  # its turn came in the moment in which it went

    def _take_out(self, tenant: str, turn: asyncio.Future[Place]) -> None:
        queue = self._queues.get(tenant, deque())
        if turn in queue:
            queue.remove(turn)
            self.num_waiting -= 1
        if not queue:
            self._queues.pop(tenant, None)

    def _left(self, tenant: str, answer_s: float) -> None:
        self.num_running -= 1
        self._running[tenant] -= 1
        if not self._running[tenant]:
            del self._running[tenant]
        self._answer_s += _WEIGHT_OF_NEWEST * (answer_s - self._answer_s)
        while self.num_running < self.max_running and self._queues:
            self._serve_next()

    def _serve_next(self) -> None:
        tenant = min(self._queues, key=lambda one: self._running[one])
        turn = self._queues[tenant][0]
        self._take_out(tenant, turn)
        if tenant in self._queues:
            self._queues[tenant] = self._queues.pop(tenant)
        if not turn.done():  # else it was cancelled and goes by itself
            turn.set_result(self._begin(tenant))

    def _retry_after_s(self) -> int:
        """When the queue will have moved on by one place, by the running mean of an answer."""
        expected_s = self._answer_s * (self.num_waiting + 1) / self.max_running
        return min(MAX_RETRY_AFTER_S, max(1, math.ceil(expected_s)))
