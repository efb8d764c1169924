"""JSON Lines of chats to conversations.

In: a file whose lines are {"messages": [{"role": "user", "content": "…"}, …]}; other keys are left
alone, blank lines too. Out: conversations; each is its own group, for a line is a thread.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from noria.corpus.read.files import SourceFile, text_lines
from noria.errors import InputError
from noria.records import Conversation, Message, Source, text_content

ROLES = ("system", "user", "assistant")


def read_chat_lines(file: SourceFile) -> Iterator[Conversation]:
    """Yield the conversations of a file, in order.

    Raises InputError "file:line: …" for JSON that can't be read, a line of another shape, or a
    conversation in which the assistant says nothing; and as every reader does for empty or binary
    files and for what is not UTF-8.
    """
    for number, start, end, text in text_lines(file):
        where = f"{file.name}:{number}"
        source = Source(file.name, number, start, end)
        yield Conversation(_messages(text, where), source, group=where)


def _messages(text: str, where: str) -> tuple[Message, ...]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: {error}", "one JSON object a line", "mend the line") from error
    items = value.get("messages") if isinstance(value, dict) else None
    if not isinstance(items, list) or not items:
        raise InputError(
            f"{where}: no list of messages",
            'an object like {"messages": [{"role": "user", "content": "…"}, …]}',
            "mend the line",
        )
    messages = tuple(_message(item, f"{where}: messages[{i}]") for i, item in enumerate(items))
    if not any(message.role == "assistant" for message in messages):
        raise InputError(
            f"{where}: no message of the assistant",
            "at least one, for the loss counts on them",
            "mend the line or leave it out",
        )
    return messages


def _message(item: Any, where: str) -> Message:
    if not isinstance(item, dict) or item.get("role") not in ROLES:
        role = item.get("role") if isinstance(item, dict) else None
        raise InputError(f"{where} has the role {role!r}", "one of " + ", ".join(ROLES))
    content = item.get("content")
    if not isinstance(content, str):
        raise InputError(f"{where} has content of type {type(content).__name__}", "a string")
    return Message(item["role"], text_content(content))
