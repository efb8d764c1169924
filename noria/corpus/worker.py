"""One of several processes that prepare a corpus: tasks on standard input, answers on output.

Both are lines of JSON: [function, task] comes in; the function's result goes out, or `error` with
an error's class and its three parts, or `system` with those of the system's own. It ends when its
input ends.
"""

from __future__ import annotations

import json
import os
import sys

from noria.corpus.workers import work_named
from noria.errors import NoriaError


def main() -> None:
    """Work until nobody asks any more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not be taken for an answer
    for line in sys.stdin.buffer:
        name, task = json.loads(line)
        try:
            answer = work_named(name)(task)
        except NoriaError as error:
            kind = type(error).__name__
            answer = {"error": [kind, error.given, error.expected, error.fix]}
        except OSError as error:  # such as a full disk
            answer = {"system": [error.errno, error.strerror, error.filename]}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
