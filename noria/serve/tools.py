"""Functions that a chat may call, as OpenAI's API says it: what is offered, called, brought back.

In: fields of a request. Out: parts of messages, and the form that an answer must have. This module
knows no route and no model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from noria.generate.forms import Constraint, call_form
from noria.records import CALL, TOOLS, Message, Part, text_content
from noria.tokenizer.tools import CALL_KEYS, NAME_PATTERN

MAX_TOOLS = 128  # OpenAI's
# Where a schema of an object may speak of other properties than its own.
_MORE_PROPERTIES = frozenset(
    ["additionalProperties", "patternProperties", "allOf", "anyOf", "oneOf", "$ref"]
)
_NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}


def whole_text(text: str) -> str:
    """Raises ValueError for half a character (a lone surrogate), which no model has seen."""
    text.encode("utf-8")
    return text


Text = Annotated[str, AfterValidator(whole_text)]
Name = Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]
CallId = Annotated[Text, Field(min_length=1, max_length=200)]


class Function(BaseModel):
    """A function: its parameters are a JSON schema of an object, none at all if it is left out."""

    name: Name
    description: Text | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None  # arguments fit the schema in any case

    @field_validator("parameters")
    @classmethod
    def _an_object(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value and value.get("type") != "object":
            raise ValueError('a JSON schema of type "object"')
        try:
            whole_text(json.dumps(value, ensure_ascii=False, allow_nan=False))
        except (ValueError, RecursionError):
            raise ValueError("a JSON schema of numbers, whole characters, and less depth") from None
        return value

    @property
    def schema_of_arguments(self) -> dict[str, Any]:
        """What its arguments must be; of an object that is silent on others, its own properties."""
        schema = self.parameters or _NOTHING
        if "properties" in schema and not _MORE_PROPERTIES & schema.keys():
            return {**schema, "additionalProperties": False}
        return schema


class Tool(BaseModel):
    """One of OpenAI's `tools`; functions are the one kind that this server knows."""

    type: Literal["function"]
    function: Function


class FunctionName(BaseModel):
    """A function, by its name."""

    name: Name


class NamedChoice(BaseModel):
    """A `tool_choice` that names the function to call."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["function"]
    function: FunctionName


class CalledFunction(BaseModel):
    """A function that was called; its arguments are JSON of an object, as text."""

    name: Name
    arguments: Text

    @field_validator("arguments")
    @classmethod
    def _an_object(cls, value: str) -> str:
        try:
            found = json.loads(value, parse_constant=_no_number)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise ValueError("arguments that are no JSON object")
        return value


def _no_number(_: str) -> None:
    raise ValueError("NaN and infinity are no JSON")


class ToolCall(BaseModel):
    """One of a message's `tool_calls`."""

    id: CallId
    type: Literal["function"] = "function"
    function: CalledFunction

    def as_part(self) -> Part:
        """The call as a part of a message, spelled as a model writes one."""
        before, between, after = CALL_KEYS
        name = json.dumps(self.function.name)
        return Part(before + name + between + self.function.arguments.strip() + after, CALL)


class TextPart(BaseModel):
    """A part of a message's content; text is the one kind that this server reads."""

    type: Literal["text"]
    text: Text


class ChatMessage(BaseModel):
    """One turn; `developer` is the newer name of `system`.

    Of the assistant it may have `tool_calls`, with or without content; `tool` is the role of what a
    call brought, `tool_call_id` says which.
    """

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | list[TextPart] | None = None
    tool_calls: list[ToolCall] | None = Field(None, max_length=MAX_TOOLS)
    tool_call_id: CallId | None = None

    @model_validator(mode="after")
    def _fits_its_role(self) -> ChatMessage:
        if self.tool_calls and self.role != "assistant":
            raise ValueError("tool_calls go with the role assistant")
        if self.content is None and not self.tool_calls:
            raise ValueError("a message has content, or tool_calls")
        if (self.tool_call_id is not None) != (self.role == "tool"):
            raise ValueError("tool_call_id goes with the role tool, and with no other")
        return self

    def as_message(self) -> Message:
        """The turn as the chat renderer takes it."""
        role = "system" if self.role == "developer" else self.role
        content = self.content or ""
        text = content if isinstance(content, str) else "".join(part.text for part in content)
        calls = tuple(one.as_part() for one in self.tool_calls or ())
        return Message(role, text_content(text) + calls)


def check_results(messages: Sequence[ChatMessage]) -> None:
    """Raise ValueError unless the results of a message's calls stand right behind it, once each."""
    waiting: set[str] = set()
    for one in messages:
        if one.role == "tool":
            if one.tool_call_id not in waiting:
                raise ValueError("a tool message answers a call of the assistant's message before")
            waiting.remove(one.tool_call_id)
            continue
        if waiting:
            break
        ids = [call.id for call in one.tool_calls or ()]
        waiting = set(ids)
        if len(waiting) < len(ids):
            raise ValueError("the ids of a message's tool_calls differ from one another")
    if waiting:
        raise ValueError("each of a message's tool_calls needs its tool message right behind it")


class Offer(BaseModel):
    """The fields of a chat that say which functions may or must be called.

    One answer has one call at most, whatever `parallel_tool_calls` allows.
    """

    tools: list[Tool] | None = Field(None, max_length=MAX_TOOLS)
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = None

    @model_validator(mode="after")
    def _what_is_offered(self) -> Offer:
        names = [one.function.name for one in self.tools or ()]
        if len(set(names)) < len(names):
            raise ValueError("tools of the same name")
        choice = self.tool_choice
        if not names and (choice not in (None, "none") or self.parallel_tool_calls is not None):
            raise ValueError("tool_choice and parallel_tool_calls go with tools")
        if isinstance(choice, NamedChoice) and choice.function.name not in names:
            raise ValueError("tool_choice names one of the tools")
        return self

    @property
    def may_call(self) -> bool:
        """Whether an answer may be a call."""
        return bool(self.tools) and self.tool_choice != "none"

    @property
    def call_constraint(self) -> Constraint:
        """The form of an answer that may, or must, call a function."""
        choice, named = self.tool_choice, None
        if isinstance(choice, NamedChoice):
            named = choice.function.name
        functions = {
            one.function.name: one.function.schema_of_arguments
            for one in self.tools or ()
            if named in (None, one.function.name)
        }
        return call_form(functions, must=choice not in (None, "auto"))

    def offered(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Messages with the functions in the system's; without any where none may be called."""
        if not self.may_call:
            return tuple(messages)
        told = [
            one.model_dump(exclude_none=True, exclude={"function": {"strict"}})
            for one in self.tools or ()
        ]
        part = (Part(json.dumps(told, ensure_ascii=False), TOOLS),)
        if messages[0].role != "system":
            return (Message("system", part), *messages)
        return (Message("system", messages[0].content + part), *messages[1:])
