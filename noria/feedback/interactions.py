"""What was asked, what was answered, and what a person said of it.

In: values from a server or a file. Out: frozen values and their checks.
This module knows no database and no HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from noria.errors import UsageError
from noria.records import CALL, TOOLS, Message, Part, content_text, text_content

INTERACTION_KINDS = ("chat", "completion", "task")
IMPLICIT_KINDS = ("regenerate", "copy", "abandon")  # what people did; nobody was asked
FEEDBACK_KINDS = ("thumb", "label", "correction", "comment", "preference", *IMPLICIT_KINDS)
ORIGINS = ("person", "simulated")
THUMBS = ("up", "down")
MAX_LABEL_CHARACTERS = 200
MAX_KEY_CHARACTERS = 200


@dataclass(frozen=True)
class Interaction:
    """A request, its answer, and the weight hash that gave it.

    `prompt` is the text of a completion or of a task, whose answer is JSON, or the JSON list of a
    chat's messages. `person` is a
    pseudonym, never a name. `finish` is "stop", "length", or "cancelled" when the person did not
    wait for the end.
    """

    tenant: str
    id: str
    model_name: str
    weight_hash: str
    kind: str
    prompt: str
    answer: str
    created_at: float
    person: str = ""
    finish: str = "stop"
    num_prompt_tokens: int = 0
    num_answer_tokens: int = 0

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages of a chat; any other prompt as one message of the user."""
        if self.kind != "chat":
            return (Message("user", text_content(self.prompt)),)
        return tuple(message_of(turn) for turn in json.loads(self.prompt))


@dataclass(frozen=True)
class Feedback:
    """What was said of an interaction; `origin` tells people from simulated users.

    A preference's `interaction_id` is the better answer, its `value` the id of the worse one; the
    value of an implicit kind is empty. `person` is the pseudonym of who said it, `key_id` the key
    that it came through; both may be empty.
    """

    tenant: str
    id: str
    interaction_id: str
    kind: str
    value: str
    origin: str
    created_at: float
    person: str = ""
    key_id: str = ""

    @property
    def implicit(self) -> bool:
        """Whether it is a sign of what somebody did, not a word that somebody said."""
        return self.kind in IMPLICIT_KINDS


def chat_prompt(messages: Sequence[Message]) -> str:
    """Messages as the JSON that an interaction of kind "chat" keeps as its prompt."""
    return json.dumps([_turn(one) for one in messages], ensure_ascii=False)


def _turn(message: Message) -> dict[str, Any]:
    """A message as JSON: with what it calls, and what may be called, as JSON texts."""
    turn: dict[str, Any] = {"role": message.role, "content": content_text(message.content)}
    calls = [part.text for part in message.content if part.kind == CALL]
    if calls:
        turn["calls"] = calls
    for part in message.content:
        if part.kind == TOOLS:
            turn["tools"] = part.text
    return turn


def message_of(turn: Mapping[str, Any]) -> Message:
    """A message of a stored chat. Raises KeyError, TypeError or ValueError for what is none."""
    text, calls, tools = str(turn["content"]), turn.get("calls", []), turn.get("tools")
    for one in [*calls, *([tools] if tools else [])]:
        json.loads(one)
    content = text_content(text) + tuple(Part(one, CALL) for one in calls)
    return Message(str(turn["role"]), content + ((Part(tools, TOOLS),) if tools else ()))


def _require_choice(what: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise UsageError(f"an unknown {what}", "one of " + ", ".join(choices))


def check_text(what: str, text: str) -> None:
    """Raise UsageError for text that UTF-8 can't hold (half of a surrogate pair)."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(
            f"{what} holds half a character at {error.start}", "text that UTF-8 can hold"
        ) from error


def check_name(what: str, text: str) -> None:
    """Raise UsageError for a name or id that no database holds: NUL, or half a character."""
    check_text(what, text)
    if "\0" in text:
        raise UsageError(f"{what} holds a NUL", "text without NUL characters")


def check_interaction(interaction: Interaction) -> None:
    """Raise UsageError for an interaction that can't be stored; no message repeats its text."""
    _require_choice("kind of interaction", interaction.kind, INTERACTION_KINDS)
    if not interaction.tenant or not interaction.id:
        raise UsageError("an interaction without tenant or id", "both")
    for what in ("tenant", "id", "model_name", "weight_hash", "finish"):
        check_name(what, getattr(interaction, what))
    for what in ("prompt", "answer", "person"):
        check_text(what, getattr(interaction, what))


def check_feedback(said: Feedback) -> None:
    """Raise UsageError for feedback that says nothing; no message repeats its text."""
    kind, value = said.kind, said.value
    _require_choice("kind of feedback", kind, FEEDBACK_KINDS)
    _require_choice("origin", said.origin, ORIGINS)
    for what in ("tenant", "id", "interaction_id", "key_id"):
        check_name(what, getattr(said, what))
    for what in ("value", "person"):
        check_text(what, getattr(said, what))
    if kind == "thumb":
        _require_choice("thumb", value, THUMBS)
    if kind in IMPLICIT_KINDS:
        if value:
            raise UsageError(f"a value beside {kind}", "none: the kind says it all")
        return
    if not value.strip():
        raise UsageError(f"an empty {kind}", "some text")
    if kind == "label" and len(value) > MAX_LABEL_CHARACTERS:
        raise UsageError(f"a label of {len(value)} characters", f"at most {MAX_LABEL_CHARACTERS}")
    if kind == "preference":
        check_name("value", value)
        if value == said.interaction_id:
            raise UsageError("a preference of an answer to itself", "the ids of two answers")


def check_idempotency_key(key: str) -> None:
    """Raise UsageError for a key that is too long or not plain printable ASCII; "" is no key."""
    if len(key) > MAX_KEY_CHARACTERS or not (key.isascii() and key.isprintable()):
        raise UsageError(
            f"an idempotency key of {len(key)} characters",
            f"at most {MAX_KEY_CHARACTERS} printable ASCII characters",
        )
