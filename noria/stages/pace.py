"""How fast a step goes, said to whoever looks on."""

from __future__ import annotations

import time

from noria.workspace import Watcher


class Pace:
    """Says how fast each step of the corpus goes."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._step = ""
        self._begun_at = self._begun_with = 0.0

    def progress(self, step: str, done: int, total: int) -> None:
        """Pass a step's progress on, with its rate: of files in MB, else in records."""
        now = time.monotonic()
        if step != self._step:  # what an earlier, stopped run has finished is no pace of this one
            self._step, self._begun_at, self._begun_with = step, now, done
        rate = (done - self._begun_with) / max(1e-9, now - self._begun_at)
        said = f"{rate / 1e6:.1f} MB/s" if step == "read" else f"{rate:,.0f} records/s"
        self._watcher.progress(f"{step}, {said}" if rate else step, done, total)
