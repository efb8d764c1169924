"""JSON Lines and JSON arrays to records.

In: a file with a JSON value a line, or one array, or one object. Out: records with the line and the
byte range of their value. An array's elements are read one by one, so that each knows where it
stands; a fault inside an array ends it, and says so.

A value is an object (a row), or a text (a document). One object with `data` of paragraphs and
questions is SQuAD's format (Rajpurkar et al. 2016).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

from noria.corpus.read.columns import Wanted
from noria.corpus.read.files import SourceFile, read_bytes
from noria.corpus.read.jsonvalues import decoder, parse_json
from noria.corpus.read.lines import find_encoding, text_lines
from noria.corpus.read.quarantine import Quarantined, WrongRow, quarantined
from noria.corpus.read.reader import Found, Say
from noria.corpus.read.rows import read_rows
from noria.corpus.read.shapes import Row
from noria.corpus.read.squad import is_squad, squad_rows
from noria.errors import InputError
from noria.records import Source

_SPACE = re.compile(r"[ \t\r\n]*")


def read_json_lines(file: SourceFile, wanted: Wanted, say: Say) -> Found:
    """Yield the records of a JSON Lines file. Raises InputError for no text, unknown columns."""
    rows, name = json_line_rows(file, wanted)
    yield from read_rows(file, rows, wanted, say, name)


def json_line_rows(file: SourceFile, wanted: Wanted) -> tuple[Iterator[Row | Quarantined], str]:
    """The rows of a JSON Lines file, and what it is, in a few words. Raises InputError."""
    encoding = find_encoding(file, wanted.encoding)

    def rows() -> Iterator[Row | Quarantined]:
        for line in text_lines(file, encoding):
            if isinstance(line, Quarantined):
                yield line
                continue
            try:
                values = _row_values(parse_json(line.text))
            except WrongRow as error:
                yield quarantined(file.name, line.number, line.text, error.reason)
                continue
            source = Source(file.name, line.number, line.start, line.end)
            yield Row(values, source, f"{file.name}:{line.number}")

    return rows(), f"JSON Lines, {encoding.says()}"


def read_json(file: SourceFile, wanted: Wanted, say: Say) -> Found:
    """Yield the records of a JSON file: an array, SQuAD, or an object that is one row.

    A file whose first value is an object with more behind it is read as JSON Lines. Raises
    InputError for no text, no JSON at its start, or columns that are not understood.
    """
    encoding = find_encoding(file, wanted.encoding)
    data = read_bytes(file)
    try:
        text = data[encoding.mark_bytes :].decode(encoding.name)
    except UnicodeError as error:
        raise InputError(f"not {encoding.name.upper()}: {error}", "text") from error
    name = f"JSON, {encoding.says()}"
    position = _after_space(text, 0)
    if text[position : position + 1] != "[":
        value, end = _single(text, position)
        if text[end:].strip():
            yield from read_json_lines(file, wanted, say)
        elif is_squad(value):
            yield from read_rows(file, squad_rows(file, value), wanted, say, f"SQuAD {name}")
        else:
            source = Source(file.name, text.count("\n", 0, position) + 1, 0, len(data))
            row = Row(_row_values(value), source, f"{file.name}#0")
            yield from read_rows(file, iter([row]), wanted, say, name)
        return
    del data
    rows = _element_rows(file, text, encoding.name, encoding.mark_bytes)
    first = next(rows, None)
    if first is not None:
        yield from read_rows(
            file, chain([first], rows), wanted, say, f"JSON array, {encoding.says()}"
        )


def _single(text: str, position: int) -> tuple[Any, int]:
    try:
        return decoder().raw_decode(text, position)
    except (ValueError, RecursionError) as error:
        line = text.count("\n", 0, position) + 1
        raise InputError(f"no JSON in line {line}: {str(error)[:200]}", "JSON") from error


def _row_values(value: Any) -> dict[str, Any]:
    """An object; a text is an object with a text."""
    if isinstance(value, dict):
        return value
    if isinstance(value, str):
        return {"text": value}
    raise WrongRow(f"{_KINDS.get(type(value), 'a number')}, no object and no text", value)


_KINDS: dict[type, str] = {list: "a list", bool: "true or false", type(None): "null"}


def _element_rows(
    file: SourceFile, text: str, encoding: str, start: int
) -> Iterator[Row | Quarantined]:
    """A row for each element of an array; what can't be parsed ends it."""
    position = _after_space(text, _after_space(text, 0) + 1)
    decode = decoder().raw_decode
    seen, line, number = 0, 1, 0  # characters counted so far, the line there, elements so far
    while text[position : position + 1] != "]":
        line += text.count("\n", seen, position)
        start += len(text[seen:position].encode(encoding))
        try:
            value, end = decode(text, position)
        except (ValueError, RecursionError) as error:
            why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            reason = f"no JSON: {why}; what follows in the array is left out"
            yield quarantined(file.name, line, text[position : position + 400], reason)
            return
        byte_end = start + len(text[position:end].encode(encoding))
        try:
            source = Source(file.name, line, start, byte_end)
            yield Row(_row_values(value), source, f"{file.name}#{number}")
        except WrongRow as error:
            yield quarantined(file.name, line, error.value, error.reason)
        number += 1
        line += text.count("\n", position, end)
        start, seen = byte_end, end
        position = _after_space(text, end)
        if text[position : position + 1] == ",":
            position = _after_space(text, position + 1)
        elif text[position : position + 1] != "]":
            line += text.count("\n", end, position)
            reason = "no ',' or ']' after an element; what follows in the array is left out"
            yield quarantined(file.name, line, text[position : position + 400], reason)
            return
    rest = text[position + 1 :].strip()
    if rest:
        line += text.count("\n", seen, position)
        yield quarantined(file.name, line, rest[:400], "text behind the array")


def _after_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position
