"""The process that reads one form: `python -m noria.serve.worker.form_reader`.

In: a JSON list of its grammars on standard input. Out: on standard output a zero byte when it
begins one, then what is wrong with that one, nothing for a good one; it ends with the first that is
wrong. The system ends it where it takes too long or too much memory.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llguidance import LLTokenizer

MAX_CPU_S = 2  # usual forms take a thousandth of it
MAX_MEMORY_BYTES = 2 << 30
_NUM_STEPS = 8  # some forms turn out too large only behind their first sign


def main() -> None:
    """Read them with the bytes as a vocabulary: what takes for ever does so with any."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_S, MAX_CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    from llguidance import LLTokenizer

    tokenizer = LLTokenizer("byte")
    for grammar in json.load(sys.stdin.buffer):
        sys.stdout.buffer.write(b"\0")
        sys.stdout.buffer.flush()  # it may be the last that is heard of this process
        told = _wrong(tokenizer, grammar)
        if told:
            sys.stdout.buffer.write(told.encode())
            return


def _wrong(tokenizer: LLTokenizer, grammar: str) -> str:
    from llguidance import LLMatcher

    matcher = LLMatcher(tokenizer, grammar, log_level=0)
    for _ in range(_NUM_STEPS):
        if matcher.is_stopped():  # by an error, too
            break
        bits = int.from_bytes(matcher.compute_bitmask(), "little")
        if not matcher.is_error():
            matcher.consume_token((bits & -bits).bit_length() - 1)  # the first that may come
    return matcher.get_error()


if __name__ == "__main__":
    main()
