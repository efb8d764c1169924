"""Copies of requests, answered in shadow: measured, compared with what was shown, and forgotten.

In: a request that was answered, and how to answer it again. Out: signals, and nothing else.
One copy is answered at a time and few wait; where more come, they are not copied.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from noria.serve.live_signals import LiveSignals

MAX_WAITING = 4

log = logging.getLogger(__name__)


class Shadow:
    """Answers copies in a thread of its own."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="noria-shadow")
        self._places = threading.Semaphore(MAX_WAITING)

    def copy(
        self,
        signals: LiveSignals,
        tenant: str,
        weight_hash: str,
        prompt: str,
        agreement: Callable[[], float],
    ) -> None:
        """Answer a copy when its turn comes; `agreement` does, and says how alike it was."""
        if not self._places.acquire(blocking=False):
            return

        def answer() -> None:
            began_at, failed, agreed = time.monotonic(), False, 0.0
            try:
                agreed = agreement()
            except Exception as error:  # nobody waits for it; that it failed is what is measured
                log.warning("a copy in shadow failed: %s", error)
                failed = True
            finally:
                self._places.release()
            latency_s = time.monotonic() - began_at
            signals.note(tenant, weight_hash, prompt, latency_s, failed=failed, agreed=agreed)

        self._thread.submit(answer)

    def close(self) -> None:
        """Wait for the copy that is being answered; those that wait are dropped."""
        self._thread.shutdown(cancel_futures=True)
