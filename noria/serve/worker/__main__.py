"""The worker's process: `python -m noria.serve.worker DESCRIPTOR PARENT MAX_RUNNING THREADS`.

In: the descriptor of a socket whose other end the server holds. Out: nothing but what is said on
it. It ends with that socket, whatever it is doing.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import socket
import sys

from noria.errors import FormatError
from noria.serve.worker.confine import confine
from noria.serve.worker.frames import read_frame
from noria.serve.worker.outgoing import Outgoing, ToldLog


def main(descriptor: int, parent_id: int, max_running: int, num_threads: int) -> None:
    """Answer until the line ends; threads 0: as many as torch takes by itself."""
    confine(parent_id)
    faulthandler.enable()  # of a crash in native code: where, and no text
    line = socket.socket(fileno=descriptor)
    outgoing = Outgoing(line)
    outgoing.start()
    logging.getLogger().addHandler(ToldLog(outgoing))
    import torch  # not before the process is confined

    from noria.serve.worker.jobs import Jobs

    if num_threads:
        torch.set_num_threads(num_threads)
    jobs = Jobs(outgoing, max_running)
    outgoing.put({"id": 0, "result": None})  # it may be asked now
    with line.makefile("rb") as incoming:
        while True:
            try:
                messages = read_frame(incoming)
            except (FormatError, OSError):
                messages = None
            if messages is None:  # threads may be in the middle of a step: nobody waits for them
                os._exit(0)
            for message in messages:
                jobs.take(message)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
