"""A warm process: it has loaded everything, and forks a child for each thing that it is told to do.

`serve` is its inside: reads a JSON value a line, answers with the child's process id, then with how
it ended. It computes nothing itself, so a fork inherits no threads. `WarmRunner` is its outside.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

SMALL_MODEL = Path(__file__).resolve().parents[1] / "train"  # where small_training.py is


def serve(child: Callable[[Any], int]) -> None:
    """Run `child` in a fork for each line of standard input; what it prints goes nowhere."""
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            log = os.open(os.environ.get("WARM_LOG", os.devnull), os.O_RDWR | os.O_CREAT)
            for stream in (0, 1, 2):
                os.dup2(log, stream)
            code = 1
            try:
                code = child(json.loads(line))
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        print(process, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


class WarmRunner:
    """Asks a warm process, kills its children when told to."""

    def __init__(self, script: str) -> None:
        command = [sys.executable, str(Path(__file__).with_name(script))]
        paths = [str(SMALL_MODEL), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "TORCHINDUCTOR_COMPILE_THREADS": "1",  # others would be forked from the warm process
        }
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, asked: Any, kill_after_s: float | None = None) -> int:
        """Returns the exit code; -9 if it was killed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        child = int(self._process.stdout.readline())
        timer = None
        if kill_after_s is not None:
            timer = threading.Timer(kill_after_s, self._kill, [child])
            timer.start()
        code = int(self._process.stdout.readline())
        if timer is not None:
            timer.cancel()
            timer.join()
        return code

    @staticmethod
    def _kill(child: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()
