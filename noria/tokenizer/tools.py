r"""Functions that a model may call: how each chat format spells them, and calls read from answers.

In: messages with parts of the kinds "tools" and "call", and of the role "tool"; the text of an
answer. Out: turns of plain text as the format's family was trained on them; what an answer says and
what it calls. This module knows no ids and no grammar.

    hermes   the system's text, an empty line, instructions with a line of JSON for each function;
             <tool_call> \n {"name": …, "arguments": …} \n </tool_call>
             Hermes 2 Pro and Qwen2.5 were trained on it; a format without one of its own gets it
    apigen   the functions as a JSON list; <tool_call>[{"name": …, "arguments": …}]</tool_call>
             SmolLM2-1.7B-Instruct was trained on it

In both, a result is the user's turn: <tool_response> \n content \n </tool_response>. A format that
has no system message has the instructions at the front of the user's first one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import final

from noria.errors import UsageError
from noria.records import CALL, TOOLS, Message, content_text

MARKER = "<tool_call>"  # in an answer it stands at the front of a call and nowhere else
CALL_KEYS = ('{"name": ', ', "arguments": ', "}")  # around the name and the arguments
NAME_PATTERN = "[a-zA-Z0-9_-]{1,64}"  # OpenAI's names of functions
_RESULT = ("<tool_response>\n", "\n</tool_response>")
_BEGIN = re.compile(MARKER + r'[\n\[]\{"name": "(' + NAME_PATTERN + ')", "arguments": ')
_END = re.compile(r"\}[\n\]]</tool_call>\Z")
_END_CHARACTERS = len("}\n</tool_call>")


@dataclass(frozen=True)
class ToolForm:
    """How functions and calls are spelled.

    The functions stand between the two texts of `instructions`, each on a line of its own or, with
    `lists`, as one JSON list; the calls of an answer between `before` and `after`, with `between`
    between them. `keeps_default`: whether the format's own system message stays in front.
    """

    instructions: tuple[str, str]
    before: str
    between: str
    after: str
    lists: bool = False
    keeps_default: bool = True


HERMES = ToolForm(
    (
        "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
        "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n",
        "\n</tools>\n\nFor each function call, return a json object with function name and "
        "arguments within <tool_call></tool_call> XML tags:\n"
        '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>',
    ),
    MARKER + "\n",
    "\n</tool_call>\n<tool_call>\n",
    "\n</tool_call>",
)
APIGEN = ToolForm(
    (
        "You are an expert in composing functions. You are given a question and a set of possible "
        "functions. \nBased on the question, you will need to make one or more function/tool calls "
        "to achieve the purpose. \nIf none of the functions can be used, point it out and refuse "
        "to answer. \nIf the given question lacks the parameters required by the function, also "
        "point it out.\n\nYou have access to the following tools:\n<tools>",
        "</tools>\n\nThe output MUST strictly adhere to the following format, and NO other text "
        "MUST be included.\nThe example format is as follows. Please make sure the parameter type "
        "is correct. If no function call is needed, please make the tool calls an empty list "
        "'[]'.\n<tool_call>[\n"
        '{"name": "func_name1", "arguments": {"argument1": "value1", "argument2": "value2"}},\n'
        "... (more tool calls as required)\n]</tool_call>",
    ),
    MARKER + "[",
    ", ",
    "]</tool_call>",
    lists=True,
    keeps_default=False,
)


def spelled_turns(
    form: ToolForm, default_system: str | None, has_system: bool, messages: Sequence[Message]
) -> list[tuple[str, str]]:
    """Role and text of each turn, with functions, calls and results as text.

    `has_system`: whether the format has a system message; `default_system`: the one of a chat that
    begins without. Results that follow one another are one turn. Raises UsageError for functions
    that no user's message follows where they need one.
    """
    turns: list[tuple[str, str]] = []
    before = ""
    for number, message in enumerate(messages):
        role, text = message.role, content_text(message.content)
        if role == "tool":
            role, text = "user", text.join(_RESULT)
            if number and messages[number - 1].role == "tool":
                text = turns.pop()[1] + "\n" + text
        calls = [part.text for part in message.content if part.kind == CALL]
        if calls:
            text += "\n" if text and not text.endswith("\n") else ""
            text += form.before + form.between.join(calls) + form.after
        for part in message.content:
            if part.kind == TOOLS:
                said = text or (default_system or "" if form.keeps_default else "")
                text = "\n\n".join([*filter(None, [said]), _instructions(form, part.text)])
                if not has_system and not content_text(message.content):
                    before = text
        if before and role == "system":
            continue
        if before and role == "user":
            text, before = before + "\n\n" + text, ""
        turns.append((role, text))
    if before:
        raise UsageError("functions without a message of the user", "a user's message first")
    return turns


def _instructions(form: ToolForm, functions: str) -> str:
    if not form.lists:
        listed = json.loads(functions)
        functions = "\n".join(json.dumps(one, ensure_ascii=False) for one in listed)
    return functions.join(form.instructions)


@dataclass(frozen=True)
class Heard:
    """Some more of an answer: what it says; the name of the function that it calls; some more of
    the arguments."""

    text: str = ""
    name: str = ""
    arguments: str = ""

    def then(self, more: Heard) -> Heard:
        """This and what comes behind it."""
        return Heard(self.text + more.text, self.name + more.name, self.arguments + more.arguments)


@final
class AnswerReader:
    """Tells what an answer says from what it calls, while its text comes.

    `named` says whether a call has begun; after `finish`, `called` whether it is whole. It reads
    every form.
    """

    def __init__(self) -> None:
        self._held = ""  # what may be the beginning of something else
        self._arguments = ""  # so far
        self.named = False
        self.called = False

    def push(self, text: str) -> Heard:
        """Some more text; returns what is now certain, maybe nothing."""
        self._held += text
        if self.named:
            return Heard(arguments=self._more_arguments())
        start = self._held.find(MARKER)
        if start < 0:
            return Heard(self._release(len(self._held) - self._num_doubtful()))
        said = self._release(start)
        found = _BEGIN.match(self._held)
        if found is None:
            return Heard(said)
        self.named = True
        self._release(found.end())
        return Heard(said, found[1], self._more_arguments())

    def finish(self) -> Heard:
        """The end of the text: returns what was held back."""
        if not self.named:  # a call without a name can't be told: it was cut too early
            return Heard("" if self._held.startswith(MARKER) else self._held)
        self.called = _END.search(self._held) is not None
        whole = self._arguments + self._held
        end = len(whole)
        with suppress(ValueError, RecursionError):  # of cut arguments there is no end yet
            _, end = json.JSONDecoder().raw_decode(whole)
        return Heard(arguments=whole[len(self._arguments) : end])

    def _more_arguments(self) -> str:
        new = self._release(len(self._held) - _END_CHARACTERS)
        self._arguments += new
        return new

    def _release(self, num_characters: int) -> str:
        cut = max(num_characters, 0)
        piece, self._held = self._held[:cut], self._held[cut:]
        return piece

    def _num_doubtful(self) -> int:
        """Length of the longest end of the held text that begins a marker."""
        lengths = range(min(len(MARKER), len(self._held)), 0, -1)
        return next((one for one in lengths if self._held.endswith(MARKER[:one])), 0)


def arguments_span(text: str) -> tuple[int, int, int] | None:
    """Where in an answer its call begins, and where the arguments do and end; None without a whole
    call whose arguments are JSON."""
    start, end = _BEGIN.search(text), _END.search(text)
    if start is None or end is None or start.end() > end.start():
        return None
    try:
        json.loads(text[start.end() : end.start()])
    except (ValueError, RecursionError):
        return None
    return start.start(), start.end(), end.start()
