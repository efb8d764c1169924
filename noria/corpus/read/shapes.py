"""A row of a table to records of the shape that was understood.

In: a row with its place, and which column means what. Out: one record (of a long document several),
or WrongRow with the reason. This module does not know in which format the row was written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from noria.corpus.read.bio import tagged_record
from noria.corpus.read.chats import ROLES, chat_messages, single_text
from noria.corpus.read.columns import Understood
from noria.corpus.read.jsonvalues import parse_json
from noria.corpus.read.pieces import document_ranges
from noria.corpus.read.quarantine import WrongRow
from noria.records import (
    Conversation,
    Document,
    Labelled,
    Message,
    Pair,
    Preference,
    Record,
    Source,
    text_content,
)

_VERDICTS = ("label", "kto_tag", "desirable")  # beside a chat: whether its answer was wanted


@dataclass(frozen=True)
class Row:
    """A row's values by column, where it stands, and the group that it is unless a column says."""

    values: Mapping[str, Any]
    source: Source
    group: str


def row_records(row: Row, understood: Understood) -> Iterator[Record]:
    """The records of a row. Raises WrongRow for a value that is missing or of another type."""
    group = _group(row, understood)
    columns = understood.columns

    def text(role: str) -> str:
        return _text(row.values, columns[role])

    match understood.shape:
        case "document":
            whole = text("text")
            ranges = [(0, len(whole))] if understood.whole else document_ranges(whole)
            for start, end in ranges:
                yield Document(text_content(whole[start:end]), row.source, group)
        case "conversation":
            yield Conversation(_messages(row.values, columns), row.source, group)
        case "labelled":
            labels = _labels(row.values, columns["labels"])
            yield Labelled(text_content(text("text")), labels, row.source, group)
        case "pair":
            source, target = text_content(text("input")), text_content(text("target"))
            yield Pair(source, target, row.source, group)
        case "tagged":
            tokens = _list(row.values, columns["tokens"])
            yield tagged_record(tokens, _list(row.values, columns["tags"]), row.source, group)
        case _:
            prompt, chosen, rejected = (
                text_content(single_text(_parsed(row.values.get(columns[role])), role))
                for role in ("prompt", "chosen", "rejected")
            )
            yield Preference(prompt, chosen, rejected, row.source, group)


def _group(row: Row, understood: Understood) -> str:
    if not understood.group:
        return row.group
    value = row.values.get(understood.group)
    if value is None or value == "" or isinstance(value, list | dict):
        raise WrongRow(f"no group under {understood.group!r}", value)
    # Authors and threads are often addresses or numbers, and the group is stored: a digest does.
    digest = hashlib.sha256(str(value).encode("utf-8", "replace")).hexdigest()
    return f"{understood.group}#{digest[:16]}"


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str):
        raise WrongRow(f"no text under {name!r}", value)
    if not value.strip():
        raise WrongRow(f"an empty text under {name!r}", value)
    return value


def _optional(values: Mapping[str, Any], columns: Mapping[str, str], role: str) -> str:
    value = values.get(columns[role]) if role in columns else None
    if value is None or value == "":
        return ""
    if not isinstance(value, str):
        raise WrongRow(f"no text under {columns[role]!r}", value)
    return value if value.strip() else ""


def _messages(values: Mapping[str, Any], columns: Mapping[str, str]) -> tuple[Message, ...]:
    for name in _VERDICTS:
        if values.get(name) is False:
            raise WrongRow(f"an answer that was not wanted ({name} is false)", values)
    system = _optional(values, columns, "system")
    opening = (Message("system", text_content(system)),) if system else ()
    if "messages" in columns:
        return opening + chat_messages(_list(values, columns["messages"]), columns["messages"])
    more = _optional(values, columns, "context")
    asked = _text(values, columns["user"]) + (f"\n\n{more}" if more else "")
    answer = _text(values, columns["assistant"])
    return (
        *opening,
        *_history(values, columns),
        Message("user", text_content(asked)),
        Message("assistant", text_content(answer)),
    )


def _history(values: Mapping[str, Any], columns: Mapping[str, str]) -> Iterator[Message]:
    """Earlier questions and answers: a list of [question, answer]."""
    name = columns.get("history", "")
    turns = _parsed(values.get(name)) if name else None
    for turn in turns if isinstance(turns, list) else []:
        if not (
            isinstance(turn, list) and len(turn) == 2 and all(isinstance(t, str) for t in turn)
        ):
            raise WrongRow(f"no question and answer in {name!r}", turn)
        yield from (Message(ROLES[1 + i], text_content(said)) for i, said in enumerate(turn))


def _labels(values: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = _parsed(values.get(name))
    labels = value if isinstance(value, list) else [value]
    if not labels or not all(isinstance(one, str | int | float) and one != "" for one in labels):
        raise WrongRow(f"no label under {name!r}", value)
    return tuple(str(one).strip() for one in labels)


def _list(values: Mapping[str, Any], name: str) -> list[Any]:
    value = _parsed(values.get(name))
    if not isinstance(value, list) or not value:
        raise WrongRow(f"no list under {name!r}", value)
    return value


def _parsed(value: Any) -> Any:
    """A value; where a table holds a list or an object as JSON text, that."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return parse_json(value)
        except WrongRow:
            return value
    return value


def row_text(values: Mapping[str, Any]) -> str:
    """A row as it is shown in quarantine."""
    try:
        return json.dumps(dict(values), ensure_ascii=False, default=str)
    except (ValueError, RecursionError, TypeError):
        return f"columns {', '.join(map(str, values))}"
