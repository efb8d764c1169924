"""Starting the worker's process, with nothing of the server's but one end of a line.

In: how many answers and threads. Out: a process and the server's end. The process begins with an
environment, descriptors and arguments that hold no secret: it is a new program, not a fork.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass

from noria.runtime import worker_environment


@dataclass(frozen=True)
class WorkerProcess:
    """A process that was started, and the server's end of its line."""

    process: subprocess.Popen[bytes]
    line: socket.socket

    def end(self, wait_s: float) -> int:
        """Close the line, which ends the process, by force after `wait_s`; returns its status."""
        self.line.close()
        try:
            return self.process.wait(wait_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def start_worker(max_running: int, num_threads: int) -> WorkerProcess:
    """Start a process; it says when it may be asked. Must be called by a thread that outlives it:

    the process ends with the thread (prctl(2), PR_SET_PDEATHSIG).
    """
    ours, theirs = socket.socketpair()
    with theirs:
        numbers = (theirs.fileno(), os.getpid(), max_running, num_threads)
        process = subprocess.Popen(
            # -P: no folder that this process happens to be in is looked into for modules.
            [sys.executable, "-P", "-m", "noria.serve.worker", *map(str, numbers)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # standard error stays: a crash in native code is told there
            pass_fds=(theirs.fileno(),),
            env=worker_environment(),
            cwd="/",
            start_new_session=True,  # a terminal's Ctrl-C is the server's
        )
    return WorkerProcess(process, ours)
