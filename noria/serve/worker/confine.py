"""What the worker gives up before it reads a model file.

In: nothing. Out: nothing, once the process can't gain rights, leaves no memory on the disk, and
ends with its parent. All of it is Linux's; elsewhere the end of the line ends the worker.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


def confine(parent_id: int) -> None:
    """Give up what the worker does not need; ends the process if its parent has gone already."""
    # A terminal's Ctrl-C and a service's SIGTERM are for the server, which lets answers end first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_id:  # it died before it could be watched
        os._exit(0)
