"""Chats as OpenAI, ShareGPT and others write them to messages.

In: a list of {"role", "content"}, of {"from", "value"}, or of plain texts in turn. Out: messages of
system, user and assistant; anything else, tools included, is a WrongRow.
"""

from __future__ import annotations

from typing import Any

from noria.corpus.read.quarantine import WrongRow
from noria.records import Message, content_text, text_content

ROLES = ("system", "user", "assistant")
_ROLE_NAMES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter", "usr"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "model", "chatgpt", "sys"), "assistant"),
}


def chat_messages(items: list[Any], name: str = "messages") -> tuple[Message, ...]:
    """The messages of a chat. Raises WrongRow for another shape, or without an answer."""
    if all(isinstance(item, str) for item in items):
        items = [{"role": ROLES[1 + i % 2], "content": one} for i, one in enumerate(items)]
    messages = tuple(_message(item, f"{name}[{i}]") for i, item in enumerate(items))
    if not any(message.role == "assistant" for message in messages):
        raise WrongRow("no message of the assistant, and the loss counts on them", items)
    return messages


def single_text(value: Any, name: str) -> str:
    """A text; or that of the one message which a value holds. Raises WrongRow for more."""
    if isinstance(value, dict):
        value = [value]
    if isinstance(value, list):
        messages = [_message(item, name) for item in value]
        if name != "prompt":  # the whole chat may stand there: its last message is the answer
            messages = [one for one in messages if one.role == "assistant"][-1:]
        if len(messages) != 1:
            raise WrongRow(f"{name} has {len(messages)} turns, expected one", value)
        value = content_text(messages[0].content)
    if not isinstance(value, str) or not value.strip():
        raise WrongRow(f"no text under {name!r}", value)
    return value


def _message(item: Any, where: str) -> Message:
    if not isinstance(item, dict):
        raise WrongRow(f"{where} is no object with role and content", item)
    name = item.get("role", item.get("from"))
    role = _ROLE_NAMES.get(name.lower()) if isinstance(name, str) else None
    if role is None:
        raise WrongRow(
            f"{where} has the role {str(name)[:40]!r}, not system, user or assistant", item
        )
    content = item["content"] if "content" in item else item.get("value", item.get("text"))
    if isinstance(content, list):
        content = _joined(content, where)
    if not isinstance(content, str):
        raise WrongRow(f"{where} has content of type {type(content).__name__}", item)
    return Message(role, text_content(content))


def _joined(parts: list[Any], where: str) -> str:
    """The text of a content that is a list of parts, all of them text."""
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise WrongRow(f"{where} holds something that is no text", parts)
    return "".join(text for text in texts if isinstance(text, str))
