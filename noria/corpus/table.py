"""Clean records on disk, and what the steps ask of each of them in columns in memory.

In: parts, as `part_writer` makes them. Out: entries, which stand for records wherever only their
source, their group, their sizes or their words are asked for; 150 bytes an entry in memory, the
text and its words are read when they are wanted. This module knows no step; `kept` has what
records and entries answer alike.

    <folder>/00000.jsonl   records, a line each
             00000.words   the hash of each word of their texts, 8 bytes each
             00000.npz     columns (N,) and band hashes (N, bands) of these records
             00000.json    the strings that the columns point to, and what the maker says of them;
                           written last: a part that has it is whole
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from noria.corpus.minhash import NUM_BANDS
from noria.corpus.shingles import Hashes
from noria.records import (
    SHAPES,
    Record,
    Source,
    record_from_json,
)

SHAPE_NAMES = tuple(SHAPES)
MAX_OPEN_FILES = 64
LINES, WORDS = ".jsonl", ".words"
WORD_BYTES = 8

# file, group, language, named, script: numbers of strings. `language` is what is counted (of a pair
# both), `named` what the record itself says, `script` what reports go by where it says nothing.
COLUMNS = np.dtype(
    [
        *((name, "<i4") for name in ("part", "file", "group", "language", "named", "script")),
        *((name, "<i8") for name in ("line", "byte_start", "byte_end", "offset", "length")),
        *((name, "<i8") for name in ("characters", "bytes", "first_word", "num_words")),
        ("text", "S16"),  # digests: of the text, and but for spaces and capital letters
        ("normal", "S16"),
        ("shape", "u1"),
        ("synthetic", "?"),
    ]
)
_STRINGS = ("file", "group", "language", "named", "script")


@final
class Table:
    """The parts of a folder, as far as they were added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.columns = np.zeros(0, COLUMNS)
        self.strings: list[str] = []
        self._number_of: dict[str, int] = {}
        self._waiting: list[npt.NDArray[Any]] = []
        self._parts: list[tuple[Path, int]] = []  # path without ending, first row
        self._num_rows = 0
        self._open: OrderedDict[tuple[int, str], int] = OrderedDict()  # part, ending -> descriptor

    def add(self, path: Path) -> Mapping[str, Any]:
        """Add a part, named by its path without ending; returns what its maker says of it."""
        about: dict[str, Any] = json.loads(path.with_suffix(".json").read_bytes())
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as stored:
            rows = stored["columns"]
        numbers = np.array([self._number(one) for one in about.pop("strings")] or [0], np.int32)
        for name in _STRINGS:
            rows[name] = numbers[rows[name]]
        rows["part"] = len(self._parts)
        self._waiting.append(rows)
        self._parts.append((path, self._num_rows))
        self._num_rows += len(rows)
        return about

    def _number(self, string: str) -> int:
        if string not in self._number_of:
            self._number_of[string] = len(self.strings)
            self.strings.append(string)
        return self._number_of[string]

    def entries(self) -> list[Entry]:
        """All records that were added since this was asked last, in order."""
        first = len(self.columns)
        self.columns = np.concatenate([self.columns, *self._waiting])
        self._waiting, self._number_of = [], {}
        return [Entry(self, row) for row in range(first, len(self.columns))]

    def strings_in_order(self, numbers: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
        """For numbers of strings, numbers that are ordered as the strings are."""
        used, inverse = np.unique(numbers, return_inverse=True)
        names = sorted({self.strings[number] for number in used})
        places = {name: place for place, name in enumerate(names)}
        return np.array([places[self.strings[number]] for number in used], np.int64)[inverse]

    def path(self, part: int, ending: str) -> Path:
        """The file that holds the records of a part, or their words."""
        return self._parts[part][0].with_suffix(ending)

    def line(self, row: int) -> bytes:
        """A record as it is written, with the end of its line."""
        one = self.columns[row]
        file = self._file(int(one["part"]), LINES)
        return os.pread(file, int(one["length"]), int(one["offset"]))

    def words(self, row: int) -> Hashes:
        """The hashes of a record's words."""
        one = self.columns[row]
        file = self._file(int(one["part"]), WORDS)
        return _words(file, int(one["first_word"]), int(one["num_words"]))

    def _file(self, part: int, ending: str) -> int:
        if (part, ending) in self._open:
            self._open.move_to_end((part, ending))
        else:
            if len(self._open) >= MAX_OPEN_FILES:
                os.close(self._open.popitem(last=False)[1])
            self._open[part, ending] = os.open(self.path(part, ending), os.O_RDONLY)
        return self._open[part, ending]

    def bands(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
        """(N, bands): the band hashes of these rows; 0 for a text without words."""
        found = np.zeros((len(rows), NUM_BANDS), np.uint64)
        parts = self.columns["part"][rows]
        for part in np.unique(parts):
            path, first = self._parts[part]
            with np.load(path.with_suffix(".npz"), allow_pickle=False) as stored:
                found[parts == part] = stored["bands"][rows[parts == part] - first]
        return found

    def close(self) -> None:
        """Let go of the files."""
        while self._open:
            os.close(self._open.popitem()[1])


@final
class Entry:
    """A record of a table, in the steps' hands."""

    __slots__ = ("row", "table")

    def __init__(self, table: Table, row: int) -> None:
        self.table = table
        self.row = row

    def _string(self, column: str) -> str:
        number = int(self.table.columns[column][self.row])
        return self.table.strings[number]

    @property
    def source(self) -> Source:
        """Where it came from."""
        columns, row = self.table.columns, self.row
        return Source(
            self._string("file"),
            int(columns["line"][row]),
            int(columns["byte_start"][row]),
            int(columns["byte_end"][row]),
        )

    @property
    def group(self) -> str:
        """What it must stay on one side of a split with."""
        return self._string("group")

    @property
    def language(self) -> str:
        """What the record itself says."""
        return self._string("named")

    @property
    def counted_language(self) -> str:
        """What reports count: its language or script, of a pair both."""
        return self._string("language")

    @property
    def script(self) -> str:
        """The script of its text."""
        return self._string("script")

    @property
    def synthetic(self) -> bool:
        """Whether a program wrote it."""
        return bool(self.table.columns["synthetic"][self.row])

    @property
    def shape(self) -> str:
        """One of the six."""
        return SHAPE_NAMES[int(self.table.columns["shape"][self.row])]

    @property
    def num_characters(self) -> int:
        """Length of its text."""
        return int(self.table.columns["characters"][self.row])

    @property
    def num_bytes(self) -> int:
        """Bytes of its text."""
        return int(self.table.columns["bytes"][self.row])

    @property
    def digest(self) -> bytes:
        """Names its text."""
        return bytes(self.table.columns["text"][self.row])

    @property
    def normal(self) -> bytes:
        """Names its text but for spaces and capital letters."""
        return bytes(self.table.columns["normal"][self.row])

    @property
    def line(self) -> bytes:
        """The record as it is written."""
        return self.table.line(self.row)

    @property
    def record(self) -> Record:
        """The record itself, read from disk."""
        return record_from_json(json.loads(self.line))

    @property
    def words(self) -> Hashes:
        """The hashes of its text's words, read from disk."""
        return self.table.words(self.row)


def word_places(entries: Sequence[Entry]) -> list[list[Any]]:
    """[path, first, number] of each entry's words, for another process to read them."""
    return [
        [
            str(one.table.path(int(row["part"]), WORDS)),
            int(row["first_word"]),
            int(row["num_words"]),
        ]
        for one in entries
        for row in (one.table.columns[one.row],)
    ]


def words_at(some: Sequence[Sequence[Any]]) -> Iterator[Hashes]:
    """The words at these places, record by record."""
    path, file = "", -1
    try:
        for name, first, number in some:
            if name != path:
                if file >= 0:
                    os.close(file)
                path, file = name, os.open(name, os.O_RDONLY)
            yield _words(file, first, number)
    finally:
        if file >= 0:
            os.close(file)


def _words(file: int, first: int, number: int) -> Hashes:
    return np.frombuffer(os.pread(file, WORD_BYTES * number, WORD_BYTES * first), "<u8")
