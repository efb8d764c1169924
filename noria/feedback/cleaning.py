"""What users wrote, without the identities in it: before it is stored, whoever brings it.

In: an interaction or feedback, and what replaces identities. Out: the same with clean texts.
JSON stays JSON: in the arguments of a call each string and each number goes by itself, a number
that has to go becomes a string.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from noria.corpus.deidentify import Deidentifier
from noria.errors import UsageError
from noria.feedback.interactions import IMPLICIT_KINDS, Feedback, Interaction
from noria.tokenizer.tools import arguments_span

_STRING = r'"(?:[^"\\]|\\.)*"'
_VALUE = re.compile(rf"(?P<key>{_STRING}(?=\s*:))|{_STRING}|-?[0-9][0-9.eE+-]*")
# Of keys and of definitions, which are a developer's: what is no bare word.
_SENTENCE = re.compile(r"[\s0-9@]")

_Change = Callable[[str], str]


def cleaned_interaction(asked: Interaction, deidentifier: Deidentifier) -> Interaction:
    """The interaction without identities in its texts.

    Of a chat every content goes by itself, so that JSON stays JSON.
    """
    texts: list[str] = []

    def collected(text: str) -> str:
        texts.append(text)
        return text

    _changed(asked, collected)
    clean = iter(deidentifier.replace_together(texts)[0])
    return _changed(asked, lambda _: next(clean))


def cleaned_feedback(said: Feedback, deidentifier: Deidentifier) -> Feedback:
    """The feedback without identities in its value."""
    if said.kind == "preference" or said.kind in IMPLICIT_KINDS:  # an id, or nothing
        return said
    return replace(said, value=_text(said.value, lambda text: deidentifier.replace(text)[0]))


def _changed(asked: Interaction, change: _Change) -> Interaction:
    """The interaction with each of its texts changed, in order, its answer last."""
    prompt = asked.prompt
    if asked.kind == "chat":
        try:
            prompt = json.dumps(
                [_turn(one, change) for one in json.loads(prompt)], ensure_ascii=False
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                "a chat's prompt that is not a list of messages",
                'JSON: [{"role": …, "content": …}, …]',
                "make it with chat_prompt",
            ) from error
    else:
        prompt = change(prompt)
    return replace(asked, prompt=prompt, answer=_text(asked.answer, change))


def _turn(turn: dict[str, Any], change: _Change) -> dict[str, Any]:
    clean: dict[str, Any] = {"role": str(turn["role"])}
    clean["content"] = _text(str(turn["content"]), change)
    if "calls" in turn:
        clean["calls"] = [_json(str(one), change) for one in turn["calls"]]
    if "tools" in turn:
        clean["tools"] = _json(str(turn["tools"]), change, defines=True)
    return clean


def _text(text: str, change: _Change) -> str:
    """A text; of one that ends with a call, what is said and the arguments."""
    span = arguments_span(text)
    if span is None:
        return change(text)
    called, start, end = span
    said = change(text[:called]) if called else ""
    return said + text[called:start] + _json(text[start:end], change) + text[end:]


def _json(text: str, change: _Change, *, defines: bool = False) -> str:
    """JSON with its values changed; `defines`: it describes functions, nobody's values."""

    def value(match: re.Match[str]) -> str:
        written = match[0]
        is_number = not written.startswith('"')
        said = written if is_number else json.loads(written)
        # Half a character may be spelled there, which no finder takes.
        said = said.encode("utf-8", "replace").decode("utf-8")
        if (defines or match["key"]) and (is_number or not _SENTENCE.search(said)):
            return written
        clean = change(said)
        return written if clean == said else json.dumps(clean, ensure_ascii=False)

    return _VALUE.sub(value, text)
