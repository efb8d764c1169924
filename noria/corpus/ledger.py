"""A corpus as numbers: for each record digests of its text and place, and where to find it again.

In: a corpus's folder, read once as a stream. Out: numpy arrays, 64 bytes a record, whatever
the texts' lengths; two of them are compared without a text in memory. Digests are 64 bits of
BLAKE2b: among ten million records two are confused with a chance of 3 in a million.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from noria.corpus.choose import Shown, shown
from noria.corpus.folder import (
    Stored,
    corpus_files,
    in_quarantine,
    left_out,
    record_at,
    stored_records,
)
from noria.corpus.kept import language_of
from noria.corpus.split import SPLITS
from noria.records import (
    Conversation,
    Labelled,
    Record,
    Tagged,
    record_texts,
    shape_of,
)

Watch = Callable[[str, float, float], None]
Digests = npt.NDArray[np.uint64]
Numbers = npt.NDArray[Any]  # int32 or int64


@dataclass(frozen=True)
class Ledger:
    """One row a record: (N,) arrays, and the names that their numbers stand for.

    `whole` covers text, shape, labels, tags and roles; `place` the file and line of the original,
    `spot` its first byte too, for files that are one line;
    `split` counts in SPLITS; `part` and `line`, `offset` say where the record is stored.
    """

    folder: Path
    text: Digests
    whole: Digests
    place: Digests
    spot: Digests
    file: Numbers
    split: Numbers
    language: Numbers
    part: Numbers
    line: Numbers
    offset: Numbers
    files: tuple[str, ...]
    languages: tuple[str, ...]
    parts: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        return len(self.text)

    def show(self, row: int) -> Shown:
        """The record of a row, read from the corpus."""
        name, split = self.parts[self.part[row]]
        offset = int(self.offset[row])
        record = record_at(self.folder, name, offset)
        return shown(Stored(record, name, int(self.line[row]), offset, split, 0))


class _Names:
    """Numbers for names, in the order in which they come."""

    def __init__(self, names: tuple[str, ...] = ()) -> None:
        self.numbers = {name: number for number, name in enumerate(names)}

    def __getitem__(self, name: str) -> int:
        return self.numbers.setdefault(name, len(self.numbers))


def read_ledger(folder: Path, watch: Watch) -> Ledger:
    """Read a corpus once. `watch` gets (what, bytes read, bytes in all).

    Files of which no record is left have a number too. Raises InputError for a folder that is no
    corpus, FormatError for a wrong line.
    """
    parts = tuple(corpus_files(folder))
    part_numbers = {name: number for number, (name, _) in enumerate(parts)}
    total = sum((folder / name).stat().st_size for name, _ in parts)
    files, languages = _Names(), _Names()
    digests = {name: array("Q") for name in ("text", "whole", "place", "spot")}
    names = ("file", "split", "language", "part", "line", "offset")
    numbers = {name: array("q" if name in ("line", "offset") else "i") for name in names}
    done = 0
    for count, stored in enumerate(stored_records(folder)):
        record = stored.record
        text, whole = _digests(record)
        line = f"{record.source.file}\n{record.source.line}"
        places = _digest(line), _digest(f"{line}\n{record.source.byte_start}")
        for name, value in zip(digests, (text, whole, *places), strict=True):
            digests[name].append(value)
        values = (
            files[record.source.file],
            SPLITS.index(stored.split),
            languages[language_of(record)],
            part_numbers[stored.file],
            stored.line,
            stored.offset,
        )
        for name, number in zip(names, values, strict=True):
            numbers[name].append(number)
        done += stored.num_bytes
        if count % 500 == 0:
            watch(f"reading {folder.name}", done, max(1, total))
    for _, lost in left_out(folder):
        files[lost["source"]["file"]]
    for _, lost in in_quarantine(folder):
        files[lost["file"]]
    arrays: dict[str, Any] = {
        **{name: np.frombuffer(some, np.uint64) for name, some in digests.items()},
        **{name: np.frombuffer(some, some.typecode) for name, some in numbers.items()},
    }
    return Ledger(
        folder,
        files=tuple(files.numbers),
        languages=tuple(languages.numbers),
        parts=parts,
        **arrays,
    )


def _digests(record: Record) -> tuple[int, int]:
    """Of a record's texts alone, and of all that is learned from it."""
    text = "\x1e".join(record_texts(record))
    more: Any = ()
    if isinstance(record, Labelled):
        more = record.labels
    elif isinstance(record, Tagged):
        more = [(span.start, span.end, span.tag) for span in record.spans]
    elif isinstance(record, Conversation):
        more = [message.role for message in record.messages]
    return _digest(text), _digest(f"{shape_of(record)}\x1f{more!r}\x1f{text}")


def _digest(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8"), digest_size=8).digest(), "big")


def pair_up(
    a: Digests, b: Digests, left_a: Numbers, left_b: Numbers
) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Pair rows of two arrays that have the same key, each once, in order.

    `left_a`, `left_b`: the rows that may be paired. Returns the rows of `a` and of `b` that are
    pairs, then those of each that are left.
    """
    keys = np.concatenate([a[left_a], b[left_b]])
    _, group = np.unique(keys, return_inverse=True)
    number = _number_within(group[: len(left_a)]), _number_within(group[len(left_a) :])
    width = 1 + max((int(some.max()) for some in number if len(some)), default=0)
    named_a = group[: len(left_a)] * width + number[0]
    named_b = group[len(left_a) :] * width + number[1]
    _, at_a, at_b = np.intersect1d(named_a, named_b, assume_unique=True, return_indices=True)
    return left_a[at_a], left_b[at_b], np.delete(left_a, at_a), np.delete(left_b, at_b)


def pair_single(
    a: Digests, b: Digests, left_a: Numbers, left_b: Numbers
) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Likewise, but only rows whose key no other row that is left has."""
    only_a, only_b = _single(a, left_a), _single(b, left_b)
    found_a, found_b, _, _ = pair_up(a, b, only_a, only_b)
    return (
        found_a,
        found_b,
        np.setdiff1d(left_a, found_a, assume_unique=True),
        np.setdiff1d(left_b, found_b, assume_unique=True),
    )


def _single(keys: Digests, rows: Numbers) -> Numbers:
    _, first, counts = np.unique(keys[rows], return_index=True, return_counts=True)
    return np.sort(rows[first[counts == 1]])


def _number_within(groups: Numbers) -> Numbers:
    """For each row, how many rows of its group stand before it."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    first = np.flatnonzero(np.diff(ordered, prepend=-1))  # where a group begins
    sizes = np.diff(first, append=len(ordered))
    number = np.empty(len(groups), np.int64)
    number[order] = np.arange(len(ordered)) - np.repeat(first, sizes)
    return number
