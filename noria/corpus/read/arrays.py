"""JSON arrays to documents or conversations: the other common way to publish text.

In: a file that holds one array: of texts, or of instructions {"instruction", "input", "output"}
(the shape of Taori et al. 2023, Stanford Alpaca). Out: records with the line and byte range of
their element. Elements are read one by one, so that each knows where it stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from noria.corpus.read.files import BOM, SourceFile, decode, read_bytes
from noria.corpus.read.text import document_ranges
from noria.errors import InputError
from noria.records import Conversation, Document, Message, Source, text_content

_SPACE = re.compile(r"[ \t\r\n]*")
_INSTRUCTION_KEYS = ("instruction", "output")


def read_text_array(file: SourceFile) -> Iterator[Document]:
    """Yield the documents of a JSON array of texts; an element is a group of its own.

    A document's source is the whole element that it is a part of. Raises InputError for JSON that
    can't be read or an element that is no string; and as every reader does for empty or binary
    files and for what is not UTF-8.
    """
    for number, (value, source) in enumerate(_elements(file)):
        if not isinstance(value, str):
            raise InputError(
                f"{file.name}:{source.line}: element {number} is {type(value).__name__}",
                "a JSON array of texts",
                "name conversations under corpus.conversations, or mend the file",
            )
        for start, end in document_ranges(value):
            content = text_content(value[start:end])
            yield Document(content, source, group=f"{file.name}#{number}")


def read_instruction_array(file: SourceFile) -> Iterator[Conversation]:
    """Yield a conversation of one question and one answer for each instruction of the array.

    `input`, where there is one, follows the instruction after an empty line. Raises InputError for
    an element without instruction or output; and as `read_text_array` does.
    """
    for number, (value, source) in enumerate(_elements(file)):
        where = f"{file.name}:{source.line}: element {number}"
        if not isinstance(value, dict) or not all(
            isinstance(value.get(key), str) and value[key].strip() for key in _INSTRUCTION_KEYS
        ):
            raise InputError(
                f"{where} has no text under instruction and output",
                'an array of objects like {"instruction": "…", "input": "…", "output": "…"}',
                "mend the element or leave it out",
            )
        more = value.get("input") or ""
        if not isinstance(more, str):
            raise InputError(f"{where} has an input of type {type(more).__name__}", "a string")
        question = value["instruction"] + (f"\n\n{more}" if more.strip() else "")
        messages = (
            Message("user", text_content(question)),
            Message("assistant", text_content(value["output"])),
        )
        yield Conversation(messages, source, group=f"{file.name}#{number}")


def _elements(file: SourceFile) -> Iterator[tuple[Any, Source]]:
    """Each element of the file's array, with where it stands."""
    data = read_bytes(file)
    start_bytes = len(BOM) if data.startswith(BOM) else 0
    text = decode(file, data, start_bytes, len(data))
    position = _after_space(text, 0)
    if text[position : position + 1] != "[":
        raise _refuse(file, text, position, "no JSON array")
    position = _after_space(text, position + 1)
    decoder = json.JSONDecoder()
    seen, line = 0, 1  # characters counted so far, and the line there
    while text[position : position + 1] != "]":
        try:
            value, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            raise _refuse(file, text, position, str(error)) from error
        start_bytes += len(text[seen:position].encode("utf-8"))
        line += text.count("\n", seen, position)
        end_bytes = start_bytes + len(text[position:end].encode("utf-8"))
        yield value, Source(file.name, line, start_bytes, end_bytes)
        seen = position
        position = _after_space(text, end)
        if text[position : position + 1] == ",":
            position = _after_space(text, position + 1)
        elif text[position : position + 1] != "]":
            raise _refuse(file, text, position, "no ',' or ']' after an element")
    if text[position + 1 :].strip():
        raise _refuse(file, text, position + 1, "text behind the array")


def _after_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _refuse(file: SourceFile, text: str, position: int, what: str) -> InputError:
    line = text.count("\n", 0, position) + 1
    return InputError(f"{file.name}:{line}: {what}", "a JSON array", "mend the file")
