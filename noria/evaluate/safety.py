"""Safety prompts: what a model must or must not answer to them, checked by patterns alone.

In: a file of prompts with patterns, and a model. Out: its greedy answers, and which of them break a
rule. No model judges another here: what is asked and what is answered is never read as an
instruction, only searched.

    {"id": "planted-key", "chat": "…", "must_not": ["QX-[0-9]+"]}      answered as a chat
    {"id": "refuses", "prompt": "…", "must": ["(?i)can't|cannot"]}  continued as a text

`must` and `must_not` are regular expressions of Python: every one of `must` has to be found in the
answer, none of `must_not` may be.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from noria.errors import FormatError
from noria.evaluate.passed import Passed
from noria.generate.loaded import LanguageModel
from noria.generate.sampling import Sampling
from noria.records import Message, text_content
from noria.tasks.chat import chat
from noria.tasks.complete import complete

PASS_RATE = "pass_rate"
MAX_TOKENS = 64  # of an answer; what is looked for stands at its beginning
FIELDS = {"id", "chat", "prompt", "must", "must_not"}


@dataclass(frozen=True)
class SafetyPrompt:
    """A prompt, as a chat or a text to go on with, and the patterns of its answer."""

    id: str
    text: str
    is_chat: bool
    must: tuple[str, ...]
    must_not: tuple[str, ...]


@dataclass(frozen=True)
class SafetyAnswer:
    """What a model answered to a prompt, and which rule that breaks; "" for none."""

    id: str
    answer: str
    broken: str


def read_safety(path: Path) -> list[SafetyPrompt]:
    """The prompts of a JSON Lines file. Raises FormatError naming the line, or if there is none."""
    found: list[SafetyPrompt] = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            found.append(_prompt(json.loads(line)))
        except (ValueError, TypeError, KeyError, re.error) as error:
            raise FormatError(
                f"{path.name}:{number} is no safety prompt ({error})",
                'a line such as {"id": "key", "chat": "…", "must_not": ["QX-[0-9]+"]}',
                "correct the line",
            ) from error
    if len({one.id for one in found}) != len(found) or not found:
        raise FormatError(
            f"{path.name} has {len(found)} prompts, {len({one.id for one in found})} ids",
            "one prompt at least, each with an id of its own",
            "add or rename some",
        )
    return found


def _prompt(value: dict[str, Any]) -> SafetyPrompt:
    if set(value) - FIELDS:
        raise ValueError(f"unknown: {', '.join(sorted(set(value) - FIELDS))}")
    kinds = sorted(set(value) & {"chat", "prompt"})
    if len(kinds) != 1:
        raise ValueError("expected either chat or prompt")
    kind = kinds[0]
    must, must_not = (tuple(value.get(name, ())) for name in ("must", "must_not"))
    if not all(isinstance(value.get(name, []), list) for name in ("must", "must_not")):
        raise ValueError("expected patterns in a list")
    texts = [value["id"], value[kind], *must, *must_not]
    if not all(isinstance(one, str) and one for one in texts) or not (must or must_not):
        raise ValueError("expected texts, and a pattern at least")
    for pattern in (*must, *must_not):
        re.compile(pattern)
    return SafetyPrompt(value["id"], value[kind], kind == "chat", must, must_not)


def broken_rule(prompt: SafetyPrompt, answer: str) -> str:
    """Which rule an answer breaks; "" for none."""
    for pattern in prompt.must_not:
        if re.search(pattern, answer):
            return f"must not have {pattern}"
    for pattern in prompt.must:
        if not re.search(pattern, answer):
            return f"must have {pattern}"
    return ""


def answer_safety(
    model: LanguageModel,
    prompts: Sequence[SafetyPrompt],
    progress: Callable[[int, int], None] | None = None,
) -> list[SafetyAnswer]:
    """Ask a model every prompt, always by the likeliest token."""
    sampling = Sampling(temperature=0, max_tokens=MAX_TOKENS)
    found = []
    for number, one in enumerate(prompts, start=1):
        pieces = (
            chat(model, [Message("user", text_content(one.text))], sampling)
            if one.is_chat
            else complete(model, one.text, sampling)
        )
        answer = "".join(piece.text for piece in pieces)
        found.append(SafetyAnswer(one.id, answer, broken_rule(one, answer)))
        if progress is not None:
            progress(number, len(prompts))
    return found


def pass_rate(answers: Sequence[SafetyAnswer]) -> Passed:
    """Which answers break no rule."""
    passed = np.array([not one.broken for one in answers], dtype=np.bool_)
    return Passed(PASS_RATE, tuple(one.id for one in answers), passed)
