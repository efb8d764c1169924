"""Who may begin an answer now, who waits, who is sent away at once.

In: requests that come and answers that end, all on one event loop. Out: a place, or Busy.
This module knows no model and no HTTP.
"""

from __future__ import annotations

import asyncio
import math
import time

from noria.errors import UsageError

MAX_RETRY_AFTER_S = 60
_FIRST_GUESS_S = 1.0
_WEIGHT_OF_NEWEST = 0.2


class Busy(Exception):
    """All places are taken and so is the queue; `retry_after_s` says when to try again."""

    def __init__(self, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"try again in {retry_after_s} s")


class Place:
    """One answer's place; given back once, however often `leave` is called."""

    def __init__(self, admission: Admission) -> None:
        self._admission: Admission | None = admission
        self._began_at = time.monotonic()

    def leave(self) -> None:
        """Give the place to the next who waits."""
        if self._admission is not None:
            self._admission._left(time.monotonic() - self._began_at)
            self._admission = None


class Admission:
    """At most `max_running` answers at once and `max_waiting` requests in the queue, in order."""

    def __init__(self, max_running: int, max_waiting: int) -> None:
        if max_running < 1 or max_waiting < 0:
            raise UsageError(f"{max_running} places, {max_waiting} waiting", "1 or more, 0 or more")
        self.max_running = max_running
        self.max_waiting = max_waiting
        self.num_running = 0
        self.num_waiting = 0
        self._free = asyncio.Semaphore(max_running)  # first come, first served
        self._answer_s = _FIRST_GUESS_S

    async def enter(self) -> Place:
        """Wait for a place. Raises Busy at once if the queue is full; may be cancelled."""
        if self._free.locked() and self.num_waiting >= self.max_waiting:
            raise Busy(self._retry_after_s())
        self.num_waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.num_waiting -= 1
        self.num_running += 1
        return Place(self)

    def _left(self, answer_s: float) -> None:
        self.num_running -= 1
        self._answer_s += _WEIGHT_OF_NEWEST * (answer_s - self._answer_s)
        self._free.release()

    def _retry_after_s(self) -> int:
        """When the queue will have moved on by one place, by the running mean of an answer."""
        expected_s = self._answer_s * (self.num_waiting + 1) / self.max_running
        return min(MAX_RETRY_AFTER_S, max(1, math.ceil(expected_s)))
