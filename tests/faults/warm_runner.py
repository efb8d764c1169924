"""A process that has loaded everything and forks a child for each command it is told to run.

Reads a JSON list of words a line; answers with the child's process id, then with how it ended.
It computes nothing itself, so a fork inherits no threads.
"""

from __future__ import annotations

import json
import os
import sys

import noria.pipeline
import noria.talk  # noqa: F401
from noria.cli import main


def child(words: list[str]) -> None:
    log = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(log, stream)
    sys.argv = ["noria", *words]
    code = 1
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    os._exit(code)


for line in sys.stdin:
    process = os.fork()
    if process == 0:
        child(json.loads(line))
    print(process, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
