"""The process that reads one form: `python -m noria.serve.worker.form_reader`.

In: a grammar on standard input. Out: what is wrong with it on standard output, nothing for a good
one. The system ends it where it takes too long or too much memory.
"""

from __future__ import annotations

import resource
import sys

MAX_CPU_S = 2  # usual forms take a thousandth of it
MAX_MEMORY_BYTES = 2 << 30
_NUM_STEPS = 8  # some forms turn out too large only behind their first sign


def main() -> None:
    """Read it with the bytes as a vocabulary: what takes for ever does so with any."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_S, MAX_CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    from llguidance import LLMatcher, LLTokenizer

    matcher = LLMatcher(LLTokenizer("byte"), sys.stdin.buffer.read().decode(), log_level=0)
    for _ in range(_NUM_STEPS):
        if matcher.is_stopped():  # by an error, too
            break
        bits = int.from_bytes(matcher.compute_bitmask(), "little")
        if not matcher.is_error():
            matcher.consume_token((bits & -bits).bit_length() - 1)  # the first that may come
    sys.stdout.buffer.write(matcher.get_error().encode())


if __name__ == "__main__":
    main()
