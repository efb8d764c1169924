"""Clean records on disk, and what the steps ask of each of them in columns in memory.

In: clean records, from whoever made them. Out: entries, which stand for records wherever only their
source, their group, their sizes or their text is asked for; 130 bytes an entry in memory, the text
is read when it is wanted. This module knows no step.

    <folder>/00000.jsonl   records, a line each
             00000.npz     columns (N,) and band hashes (N, bands) of these records
             00000.json    the strings that the columns point to, and what the maker says of them;
                           written last: a part that has it is whole
"""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from noria.artifacts import atomic_write
from noria.corpus.language import guess_script
from noria.corpus.minhash import NUM_BANDS, MinHasher
from noria.records import (
    SHAPES,
    Record,
    Source,
    record_from_json,
    record_line,
    record_texts,
    shape_of,
)

SHAPE_NAMES = tuple(SHAPES)
MAX_OPEN_FILES = 64

# file, group, language, named, script: numbers of strings. `language` is what is counted (of a pair
# both), `named` what the record itself says, `script` what reports go by where it says nothing.
COLUMNS = np.dtype(
    [
        *((name, "<i4") for name in ("part", "file", "group", "language", "named", "script")),
        *((name, "<i8") for name in ("line", "byte_start", "byte_end", "offset", "length")),
        *((name, "<i8") for name in ("characters", "bytes")),
        ("text", "S16"),  # digests: of the text, and but for spaces and capital letters
        ("normal", "S16"),
        ("shape", "u1"),
        ("synthetic", "?"),
    ]
)
_STRINGS = ("file", "group", "language", "named", "script")


def whole_text(record: Kept) -> str:
    """All texts of a record as one."""
    return record.text if isinstance(record, Entry) else "\n".join(record_texts(record))


def num_characters(record: Kept) -> int:
    """Length of the whole text."""
    return record.num_characters if isinstance(record, Entry) else len(whole_text(record))


def num_bytes(record: Kept) -> int:
    """Bytes of the whole text in UTF-8."""
    return record.num_bytes if isinstance(record, Entry) else len(whole_text(record).encode())


def script_of(record: Kept) -> str:
    """The script of the whole text, as `guess_script` names it."""
    return record.script if isinstance(record, Entry) else guess_script(whole_text(record))


def language_of(record: Kept) -> str:
    """The language that the corpus named, or else the script."""
    return record.language or script_of(record)


def text_digest(text: str) -> bytes:
    """16 bytes that name a text."""
    return hashlib.sha256(text.encode("utf-8")).digest()[:16]


def normal_digest(record: Kept) -> bytes:
    """16 bytes that name a record's text but for spaces and capital letters."""
    if isinstance(record, Entry):
        return record.normal
    return text_digest(" ".join(whole_text(record).casefold().split()))


def source_order(record: Kept) -> tuple[str | int, ...]:
    """The file's name, then the position in it; a reader may give several records one position."""
    source = record.source
    return source.file, source.byte_start, source.line, source.byte_end, source.interaction


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
        self._open: OrderedDict[int, int] = OrderedDict()  # part -> file descriptor

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

    def path(self, part: int) -> Path:
        """The file that holds the records of a part."""
        return self._parts[part][0].with_suffix(".jsonl")

    def line(self, row: int) -> bytes:
        """A record as it is written, with the end of its line."""
        one = self.columns[row]
        return os.pread(self._file(int(one["part"])), int(one["length"]), int(one["offset"]))

    def _file(self, part: int) -> int:
        if part in self._open:
            self._open.move_to_end(part)
        else:
            if len(self._open) >= MAX_OPEN_FILES:
                os.close(self._open.popitem(last=False)[1])
            self._open[part] = os.open(self.path(part), os.O_RDONLY)
        return self._open[part]

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
    def text(self) -> str:
        """All its texts as one, read from disk."""
        return whole_text(self.record)


Kept = Record | Entry


@final
class PartWriter:
    """Writes one part; nobody takes it for one before `close`."""

    def __init__(self, folder: Path, number: int, hasher: MinHasher) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{number:06}"
        self._hasher = hasher
        self._file = self.path.with_suffix(".jsonl").open("wb")
        self._rows: list[tuple[Any, ...]] = []
        self._bands = array("Q")
        self._strings: dict[str, int] = {"": 0}

    def add(self, record: Record, language: str) -> None:
        """Write a record and note what the steps will ask; language: what is counted of it."""
        line, text, source = record_line(record), whole_text(record), record.source
        named = record.language
        strings = (source.file, record.group, language, named, guess_script(text))
        numbers = [self._strings.setdefault(one, len(self._strings)) for one in strings]
        offset = self._file.tell()
        self._file.write(line)
        self._rows.append(
            (
                *(0, *numbers),
                *(source.line, source.byte_start, source.byte_end, offset, len(line)),
                *(len(text), len(text.encode("utf-8"))),
                *(text_digest(text), normal_digest(record)),
                *(SHAPE_NAMES.index(shape_of(record)), record.synthetic),
            )
        )
        self._bands.extend(self._hasher.bands(text).tolist())

    def close(self, about: Mapping[str, Any]) -> None:
        """Finish the part, with what its maker has to say, in JSON values."""
        self._file.close()
        np.savez(
            self.path.with_suffix(".npz"),
            columns=np.array(self._rows, COLUMNS),
            bands=np.array(self._bands, np.uint64).reshape(-1, NUM_BANDS),
        )
        whole = {**about, "strings": list(self._strings)}
        atomic_write(
            self.path.with_suffix(".json"), json.dumps(whole, ensure_ascii=False).encode("utf-8")
        )


def is_whole(folder: Path, number: int) -> bool:
    """Whether a part of that number was finished."""
    return (folder / f"{number:06}.json").exists()


def places(entries: Sequence[Entry]) -> list[list[Any]]:
    """[path, offset, length] of each entry, for another process to read them."""
    return [
        [str(one.table.path(int(row["part"]))), int(row["offset"]), int(row["length"])]
        for one in entries
        for row in (one.table.columns[one.row],)
    ]


def texts_at(some: Sequence[Sequence[Any]]) -> Iterator[str]:
    """The whole texts of the records at these places."""
    path, file = "", -1
    try:
        for name, offset, length in some:
            if name != path:
                if file >= 0:
                    os.close(file)
                path, file = name, os.open(name, os.O_RDONLY)
            yield whole_text(record_from_json(json.loads(os.pread(file, length, offset))))
    finally:
        if file >= 0:
            os.close(file)
