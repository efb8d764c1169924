"""Work on pieces of a corpus in several processes, with results in the order of the tasks.

In: a function of a module and tasks, all of JSON values. Out: what the function returns for each,
in order, so that nothing depends on how many processes there were. Processes are `worker.py` under
this Python; they hear tasks on standard input and end when it ends, so none outlives its parent.
One process alone needs no other: the function is called here.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, final

from noria import errors
from noria.errors import NoriaError

Task = dict[str, Any]
Work = Callable[[Task], Task]
AHEAD = 2  # tasks that wait for each process


def name_of(work: Work) -> str:
    """The function as `module:name`."""
    return f"{work.__module__}:{work.__qualname__}"


def work_named(name: str) -> Work:
    """The function of that name."""
    module, _, function = name.partition(":")
    work: Work = getattr(importlib.import_module(module), function)
    return work


@final
class Workers:
    """Processes that are started when the first task comes, and ended with the `with` block."""

    def __init__(self, num_workers: int) -> None:
        self.num_workers = num_workers
        self._processes: list[subprocess.Popen[bytes]] = []
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        self._threads: ThreadPoolExecutor | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes:
            if error is not None:
                process.kill()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        for process in self._processes:
            with suppress(OSError):  # of one that is gone
                process.communicate()

    def map(self, work: Work, tasks: Iterable[Task]) -> Iterator[Task]:
        """The results in order. Raises what the function raises: our errors, and OSError."""
        if self.num_workers == 1:
            yield from map(work, tasks)
            return
        self._start()
        assert self._threads is not None
        waiting: deque[Future[Task]] = deque()
        for task in tasks:
            waiting.append(self._threads.submit(self._ask, name_of(work), task))
            if len(waiting) >= AHEAD * self.num_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _start(self) -> None:
        if self._processes:
            return
        self._threads = ThreadPoolExecutor(self.num_workers)
        for _ in range(self.num_workers):
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "noria.corpus.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is the parent's to hear
            )
            self._processes.append(process)
            self._idle.put(process)

    def _ask(self, name: str, task: Task) -> Task:
        """One task to one idle process, and its answer."""
        process = self._idle.get()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps([name, task]).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except (OSError, ValueError):  # it is gone, or was ended
            line = b""
        finally:
            self._idle.put(process)  # a dead one too: whoever waits for it must hear of it
        if not line:
            raise NoriaError(
                f"a process that prepared the corpus ended with status {process.wait()}",
                "an answer from it",
                "run the same command again: finished parts are kept; if memory is short, set "
                "corpus.workers = 1",
            )
        answer: Task = json.loads(line)
        if "error" in answer:
            raise _error(answer["error"])
        if "system" in answer:
            raise OSError(*answer["system"])
        return answer


def _environment() -> dict[str, str]:
    """This one's, with this very package to import, and one thread in every library."""
    package = str(Path(errors.__file__).parents[1])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


def _error(said: list[str]) -> NoriaError:
    """The error that a worker said: [class, given, expected, fix]."""
    kind: type[NoriaError] = getattr(errors, said[0])
    found = kind.__new__(kind)
    NoriaError.__init__(found, *said[1:])
    return found
