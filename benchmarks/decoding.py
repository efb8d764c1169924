"""What every contestant of `decode.py` does: the same prompts, timed in turns.

Runs in our environment and in the peers', with nothing but the standard library. Three measures:
`prefill` reads one prompt and draws one token; `eight` answers eight prompts at once; `one` answers
one. No answer ends early, and no two prompts begin alike, so that nobody's prefix cache helps.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pace import _cpu_s, tell

CACHE = Path(__file__).resolve().parent / "cache"
asked: dict[str, Any] = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
PROMPT_TOKENS = 16  # of `eight` and `one`, whose time is that of drawing
NUM_TOGETHER = 8


class Text:
    """Ids of real chats, handed out without ever beginning at the same place."""

    def __init__(self) -> None:
        chats = json.loads((CACHE / "chats.json").read_text(encoding="utf-8"))
        self._ids = [one for chat in chats for one in chat["ids"]]
        self._at = 0

    def next(self, num_tokens: int) -> list[int]:
        """The next prompt."""
        if self._at + num_tokens > len(self._ids):
            self._at = self._at % 7 + 1
        found = self._ids[self._at : self._at + num_tokens]
        self._at += num_tokens
        return found


def take_turns(generate: Callable[[list[list[int]], int], int]) -> None:
    """Answer prompts whenever the judge says so. generate: prompts and how many tokens each has
    to have -> how many were drawn in all."""
    text = Text()

    def timed(num_prompts: int, prompt_tokens: int, num_new: int) -> dict[str, float]:
        prompts = [text.next(prompt_tokens) for _ in range(num_prompts)]
        began, used = time.perf_counter(), _cpu_s()
        drawn = generate(prompts, num_new)
        spent = {"wall_s": time.perf_counter() - began, "cpu_s": _cpu_s() - used}
        if drawn != num_prompts * num_new:
            raise SystemExit(f"{drawn} tokens drawn, {num_prompts * num_new} were asked for")
        return {**spent, "tokens": prompt_tokens if num_new == 1 else drawn}

    def turn() -> dict[str, dict[str, float]]:
        return {
            "prefill": timed(1, asked["prefill_tokens"], 1),
            "eight": timed(NUM_TOGETHER, PROMPT_TOKENS, asked["new_tokens"]),
            "one": timed(1, PROMPT_TOKENS, asked["new_tokens"]),
        }

    turn()
    tell({})
    while sys.stdin.readline().strip() == "go":
        tell(turn())
    tell({})
