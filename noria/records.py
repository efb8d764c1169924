"""The six shapes of example, each with where it came from, as JSON lines on disk.

In: what a reader found in a file, or what a person said of an answer.
Out: frozen values that every later stage reads. A record keeps its source for its whole life.
This module knows nothing of tokenizers, models or stores.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noria.errors import FormatError

RECORD_FORMAT = 1
TEXT, CALL, TOOLS = "text", "call", "tools"  # kinds of parts
LATER_FIELDS = ("language", "synthetic")  # in JSON only where they say something


@dataclass(frozen=True, slots=True)
class Source:
    """Where a record came from: file, first line (from 1), byte range, or an interaction's id."""

    file: str
    line: int = 0
    byte_start: int = 0
    byte_end: int = 0
    interaction: str = ""


@dataclass(frozen=True)
class Part:
    """One piece of content: text; a call of a function, as JSON with its `name` and `arguments`;
    or the functions that may be called, as a JSON list of OpenAI's `tools`."""

    text: str
    kind: str = TEXT


Content = tuple[Part, ...]


def text_content(text: str) -> Content:
    """Wrap a string as content of one text part."""
    return (Part(text),)


def content_text(content: Content) -> str:
    """Join the text parts of a content."""
    return "".join(part.text for part in content if part.kind == TEXT)


@dataclass(frozen=True)
class Document:
    """Running text. `group` names what must stay on one side of a split (a file, a thread).

    `language` is a BCP 47 tag, where the corpus named it; `synthetic`: a program wrote it. So it is
    in every shape.
    """

    content: Content
    source: Source
    group: str = ""
    language: str = ""
    synthetic: bool = False


@dataclass(frozen=True)
class Message:
    """One turn of a conversation; role is system, user, assistant, or tool: what a call brought."""

    role: str
    content: Content


@dataclass(frozen=True)
class Conversation:
    """Turns in order; training counts the loss on the assistant's only."""

    messages: tuple[Message, ...]
    source: Source
    group: str = ""
    language: str = ""
    synthetic: bool = False


@dataclass(frozen=True)
class Labelled:
    """A text and its labels."""

    content: Content
    labels: tuple[str, ...]
    source: Source
    group: str = ""
    language: str = ""
    synthetic: bool = False


@dataclass(frozen=True)
class Span:
    """A tag over characters [start, end) of a text."""

    start: int
    end: int
    tag: str


@dataclass(frozen=True)
class Tagged:
    """A text and its tagged spans."""

    content: Content
    spans: tuple[Span, ...]
    source: Source
    group: str = ""
    language: str = ""
    synthetic: bool = False


@dataclass(frozen=True)
class Pair:
    """An input and the target that should follow it (translation, correction, summary)."""

    input: Content
    target: Content
    source: Source
    group: str = ""
    language: str = ""
    synthetic: bool = False


@dataclass(frozen=True)
class Preference:
    """A prompt with the answer that was preferred and the one that was not."""

    prompt: Content
    chosen: Content
    rejected: Content
    source: Source
    group: str = ""
    language: str = ""
    synthetic: bool = False


Record = Document | Conversation | Labelled | Tagged | Pair | Preference

SHAPES: dict[str, type[Record]] = {
    "document": Document,
    "conversation": Conversation,
    "labelled": Labelled,
    "tagged": Tagged,
    "pair": Pair,
    "preference": Preference,
}
_SHAPE_OF = {cls: name for name, cls in SHAPES.items()}


def shape_of(record: Record) -> str:
    """Name the shape of a record, as stored on disk."""
    return _SHAPE_OF[type(record)]


def record_to_json(record: Record) -> dict[str, Any]:
    """Turn a record into plain JSON values; `shape` and `v` say how to read it back.

    A field that came later than the format is written only where it says something, so that records
    without it keep their bytes and ids.
    """
    value: dict[str, Any] = {"shape": shape_of(record), "v": RECORD_FORMAT}
    for name in record.__dataclass_fields__:
        one = getattr(record, name)
        if name not in LATER_FIELDS or one:
            value[name] = _plain(one)
    return value


def _plain(value: Any) -> Any:
    """JSON values of a field; `asdict` copies deeply, which costs more than all the rest."""
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, str | int):
        return value
    return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}


def _content(value: Any) -> Content:
    return tuple(Part(text=part["text"], kind=part["kind"]) for part in value)


def record_from_json(value: dict[str, Any]) -> Record:
    """Read a record back from plain JSON values.

    Raises FormatError for an unknown shape, a newer format version or missing fields.
    """
    fields = dict(value)
    shape, version = fields.pop("shape", None), fields.pop("v", None)
    if shape not in SHAPES or version != RECORD_FORMAT:
        raise FormatError(
            f"a record of shape {shape!r}, version {version!r}",
            f"one of {', '.join(SHAPES)}, version {RECORD_FORMAT}",
            "run the stage that wrote it again",
        )
    try:
        fields["source"] = Source(**fields["source"])
        for name in ("content", "input", "target", "prompt", "chosen", "rejected"):
            if name in fields:
                fields[name] = _content(fields[name])
        if "messages" in fields:
            fields["messages"] = tuple(
                Message(role=m["role"], content=_content(m["content"])) for m in fields["messages"]
            )
        if "labels" in fields:
            fields["labels"] = tuple(fields["labels"])
        if "spans" in fields:
            fields["spans"] = tuple(Span(**span) for span in fields["spans"])
        return SHAPES[shape](**fields)
    except (KeyError, TypeError) as error:
        raise FormatError(
            f"a {shape} record with wrong fields ({error})",
            f"the fields of format {RECORD_FORMAT}",
            "run the stage that wrote it again",
        ) from error


def record_texts(record: Record) -> tuple[str, ...]:
    """Every text of a record, in reading order."""
    match record:
        case Document() | Labelled() | Tagged():
            return (content_text(record.content),)
        case Conversation():
            return tuple(content_text(message.content) for message in record.messages)
        case Pair():
            return (content_text(record.input), content_text(record.target))
        case Preference():
            return tuple(
                content_text(content) for content in (record.prompt, record.chosen, record.rejected)
            )


def record_id(record: Record) -> str:
    """Name a record by the SHA-256 (hex) of all it holds, source included."""
    return hashlib.sha256(record_line(record)).hexdigest()


def record_line(record: Record) -> bytes:
    """A record as a line of JSON in UTF-8, its end included."""
    text = json.dumps(record_to_json(record), ensure_ascii=False, sort_keys=True)
    return text.encode("utf-8") + b"\n"


def write_records(path: Path, records: Iterable[Record]) -> int:
    """Write records as JSON lines; returns how many. The caller owns atomicity."""
    num_records = 0
    with path.open("wb") as file:
        for record in records:
            file.write(record_line(record))
            num_records += 1
    return num_records


def read_records(path: Path) -> Iterator[Record]:
    """Read records from JSON lines, in order. Raises FormatError naming the line."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                value = json.loads(line)
            except ValueError as error:
                raise FormatError(
                    f"{path}:{number}: {error}", "one JSON record a line", "rebuild the corpus"
                ) from error
            yield record_from_json(value)
