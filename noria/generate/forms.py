"""The forms that an answer can be asked to have: JSON, an expression, a choice, a call.

In: a schema, a pattern, texts, functions. Out: one value that says the form; `constrain` enforces
it.
This module does not know tokens, models or torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from noria.errors import UsageError

MAX_SOURCE_CHARACTERS = 100_000
MAX_CHOICES = 1000


@dataclass(frozen=True)
class Constraint:
    """The form of an answer. kind: "json" (of the schema in `source`), "regex", "choice" (of a
    JSON list) or "call". Build it by `json_form`, `regex_form`, `choice_form` or `call_form`."""

    kind: str
    source: str

    def __post_init__(self) -> None:
        if len(self.source) > MAX_SOURCE_CHARACTERS:
            raise UsageError(
                f"a {self.kind} of {len(self.source)} characters",
                f"at most {MAX_SOURCE_CHARACTERS:,} characters",
                "ask for a simpler form",
            )


def json_form(schema: Mapping[str, Any] | None = None) -> Constraint:
    """JSON that a schema (json-schema.org) allows; without one, any object.

    Raises UsageError for one that is nested too deeply to be written down.
    """
    try:
        source = json.dumps({"type": "object"} if schema is None else schema)
    except RecursionError:
        raise UsageError(
            "a JSON schema of great depth", "one of less depth", "ask for a simpler form"
        ) from None
    return Constraint("json", source)


def regex_form(pattern: str) -> Constraint:
    """A text that a regular expression matches as a whole; without look-around or references."""
    return Constraint("regex", pattern)


def choice_form(choices: Sequence[str]) -> Constraint:
    """One of these texts. Raises UsageError for none, too many, or an empty one."""
    if not 1 <= len(choices) <= MAX_CHOICES or not all(choices):
        raise UsageError(f"{len(choices)} choices", f"1 to {MAX_CHOICES} texts that are not empty")
    return Constraint("choice", json.dumps(list(choices), ensure_ascii=False))


def call_form(functions: Mapping[str, Mapping[str, Any]], must: bool) -> Constraint:
    """A call of one of these functions, by name, with arguments that its schema allows.

    It is spelled as the model's chat format spells it. Unless it `must` be a call it may be any
    text, with or without a call at its end.
    """
    return Constraint("call", json.dumps({"functions": functions, "must": must}))
