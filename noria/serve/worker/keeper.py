"""Keeps one worker running: starts it, and another when it ends.

In: how much it may do at once. Out: loaded models. A worker that dies soon after it began is
followed by the next one after a while, longer each time; otherwise at once. What was loaded is not
loaded again here: handles of an ended worker say so, and whoever holds them loads anew.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from noria.serve.worker.link import Link, gone
from noria.serve.worker.messages import WorkerGone
from noria.serve.worker.models import LanguageHandle, TaskHandle
from noria.serve.worker.process import start_worker

START_WITHIN_S = 120.0
LOAD_WITHIN_S = 600.0  # of a folder; a disk that is gone may never say so
END_WITHIN_S = 1.0
SOON_S = 30.0  # a worker that ran for longer is followed at once
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0

log = logging.getLogger(__name__)


class DiedLoading(WorkerGone):
    """The worker ended while it loaded a model, maybe of it, or was ended since it never did."""


@final
class Worker:
    """The process that parses model files and answers; used as a context it runs inside.

    max_running: answers that an engine writes at once. num_threads: of torch; 0: its own choice.
    """

    def __init__(self, max_running: int = 32, num_threads: int = 0) -> None:
        self._max_running = max_running
        self._num_threads = num_threads
        self._numbers = itertools.count(1)
        self._loading = threading.Lock()
        self._changed = threading.Condition()
        self._link: Link | None = None
        self._thread: threading.Thread | None = None
        self._closing = False
        self.num_started = 0
        self.process_id = 0

    def __enter__(self) -> Worker:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def start(self) -> None:
        """Start it; returns before it may be asked."""
        self._thread = threading.Thread(target=self._keep, name="noria-worker", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it and whatever it is doing."""
        with self._changed:
            self._closing = True
            link = self._link
            self._changed.notify_all()
        if link is not None:
            link.close()
        if self._thread is not None:
            self._thread.join()

    def wait(self, seconds: float = START_WITHIN_S) -> None:
        """Return when it may be asked. Raises WorkerGone if that takes too long."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.is_ready or self._closing, seconds):
                raise gone()

    @property
    def is_ready(self) -> bool:
        """Whether it may be asked now."""
        return self._link is not None and self._link.is_ready and not self._link.has_ended

    @property
    def state(self) -> dict[str, int | bool]:
        """What `/health` tells: whether it may be asked, what it has loaded, how often it began."""
        link = self._link
        num_models = len(link.loaded) if link is not None and self.is_ready else 0
        return {"ready": self.is_ready, "models": num_models, "started": self.num_started}

    def load_language_model(self, folder: Path) -> LanguageHandle:
        """Load a language model's folder. Raises what its loader does, WorkerGone, DiedLoading."""
        return LanguageHandle(*self._loaded("language", folder))

    def load_task_model(self, folder: Path) -> TaskHandle:
        """Load an application's folder. Raises what its loader does, WorkerGone, DiedLoading."""
        return TaskHandle(*self._loaded("task", folder))

    def _loaded(self, kind: str, folder: Path) -> tuple[Link, int, Mapping[str, Any]]:
        number = next(self._numbers)
        message = {"do": "load", "kind": kind, "folder": str(folder.absolute()), "model": number}
        with self._loading:  # one at a time: who ends meanwhile may have died of this one
            link = self._link
            if link is None or not self.is_ready:
                raise gone()
            try:
                said = link.call(message, LOAD_WITHIN_S)
            except TimeoutError as error:
                link.close()  # a thread that hangs can't be ended alone
                raise DiedLoading(
                    f"{folder.name} was not loaded within {LOAD_WITHIN_S:.0f} s",
                    "a folder that can be read, on a disk that answers",
                    "look at the disk, or promote another version",
                ) from error
            except WorkerGone as error:
                raise DiedLoading(
                    f"the process that answers ended while it loaded {folder.name}",
                    "a folder that can be loaded",
                    "look at the server's log, or promote another version",
                ) from error
        link.loaded.add(number)
        return link, number, said

    def _keep(self) -> None:
        wait_s = 0.0
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._closing, wait_s):
                    return
            began_at = time.monotonic()
            self._run_once()
            if self._closing:
                return
            soon = time.monotonic() - began_at < SOON_S
            wait_s = min(LONGEST_WAIT_S, max(FIRST_WAIT_S, 2 * wait_s)) if soon else 0.0

    def _run_once(self) -> None:
        """Start a worker and listen to it until it ends."""
        try:
            worker = start_worker(self._max_running, self._num_threads)
        except OSError as error:  # no memory, too many processes: maybe later
            log.error("the process that answers can't be started (%s)", error.strerror)
            return
        link = Link(worker.line)
        with self._changed:
            self._link = link
            self.num_started += 1
            self.process_id = worker.process.pid
            if self._closing:
                link.close()

        def ready() -> None:
            with self._changed:
                link.is_ready = True
                self._changed.notify_all()

        link.listen(ready)
        status = worker.end(0.0 if self._closing else END_WITHIN_S)
        if not self._closing:
            log.error("the process that answers has ended (status %d); another one starts", status)
