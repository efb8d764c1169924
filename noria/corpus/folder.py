"""What lies in a corpus's folder, read line by line and never held whole.

In: the folder that `prepare` wrote, of today or of an earlier version. Out: its records, each with
the place where it stands; what was left out; what is in quarantine; the report.

    train.jsonl held_out.jsonl test.jsonl        what is trained on
    <shape>/train.jsonl …                        shapes that nothing trains on yet
    dropped.jsonl quarantine.jsonl report.json
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noria.corpus.split import SPLITS
from noria.errors import FormatError, InputError
from noria.records import Record, Source, record_from_json

OTHER_SHAPES = ("labelled", "tagged", "pair", "preference")


@dataclass(frozen=True)
class Stored:
    """A record and where it stands: the file in the folder, its line from 1 and first byte."""

    record: Record
    file: str
    line: int
    offset: int
    split: str
    num_bytes: int


def corpus_files(folder: Path) -> list[tuple[str, str]]:
    """The files of records and the split of each; those of the folder itself come first.

    Raises InputError for a folder that is no corpus.
    """
    if not (folder / "train.jsonl").is_file():
        raise InputError(f"{folder} holds no train.jsonl", "the folder of a corpus")
    names = [(f"{where}{split}.jsonl", split) for where in _places() for split in SPLITS]
    return [(name, split) for name, split in names if (folder / name).is_file()]


def _places() -> list[str]:
    return ["", *(f"{shape}/" for shape in OTHER_SHAPES)]


def stored_records(folder: Path) -> Iterator[Stored]:
    """Every record of a corpus, file by file. Raises FormatError naming a wrong line."""
    for name, split in corpus_files(folder):
        offset = 0
        for number, line in enumerate(_lines(folder / name), start=1):
            record = record_of_line(line, f"{folder / name}:{number}")
            yield Stored(record, name, number, offset, split, len(line))
            offset += len(line)


def stored_at_line(folder: Path, split: str, number: int) -> Stored:
    """The record of a line, from 1, of a split that is trained or measured on.

    Raises InputError for a line that is not there.
    """
    name, offset = f"{split}.jsonl", 0
    for at, line in enumerate(_lines(folder / name), start=1):
        if at == number:
            record = record_of_line(line, f"{folder / name}:{number}")
            return Stored(record, name, number, offset, split, len(line))
        offset += len(line)
    raise InputError(f"line {number:,} of {folder / name}", "a line that is there")


def record_of_line(line: bytes, place: str) -> Record:
    """The record of one line. Raises FormatError with the place, as an error names it."""
    return record_from_json(_value(line, place))


def record_at(folder: Path, file: str, offset: int) -> Record:
    """The record whose line begins at a byte of one of the folder's files."""
    with (folder / file).open("rb") as stream:
        stream.seek(offset)
        return record_of_line(stream.readline(), f"{folder / file}, byte {offset}")


def left_out(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines of `dropped.jsonl` with their numbers: reason, source, and what the step said."""
    return _values(folder / "dropped.jsonl", ("reason", "source"))


def in_quarantine(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines of `quarantine.jsonl`, likewise: file, line, value, reason."""
    return _values(folder / "quarantine.jsonl", ("file", "line", "value", "reason"))


def source_of(value: dict[str, Any]) -> Source:
    """A source as it stands in `dropped.jsonl`."""
    return Source(**value)


def read_report(folder: Path) -> dict[str, Any]:
    """The corpus's report; empty where there is none. Raises FormatError if it can't be read."""
    path = folder / "report.json"
    if not path.is_file():
        return {}
    return _value(path.read_bytes(), str(path))


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        yield from stream


def _values(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, Any]]]:
    if not path.is_file():  # a corpus older than this file
        return
    for number, line in enumerate(_lines(path), start=1):
        value = _value(line, f"{path}:{number}")
        if any(name not in value for name in needed):
            raise FormatError(
                f"{path}:{number} is without one of {', '.join(needed)}",
                "a line that the corpus wrote",
                "build the corpus again",
            )
        yield number, value


def _value(text: bytes, place: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
        if not isinstance(value, dict):
            raise ValueError("no object")
    except ValueError as error:
        raise FormatError(
            f"{place}: {error}", "JSON as it was written", "build it again"
        ) from error
    return value
