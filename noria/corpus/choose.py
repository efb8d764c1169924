"""Records, losses and pieces in quarantine that somebody wants to see: chosen, and made readable.

In: a corpus's folder and what is wanted. Out: a few of what fits, chosen by a hash of each line, so
that the same question has the same answer and no part of a file is preferred. Only as many as are
wanted are held. This module does not print.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Generic, TypeVar

from noria.corpus.folder import Stored, in_quarantine, left_out, source_of, stored_records
from noria.corpus.kept import language_of, whole_text
from noria.corpus.sources import source_name
from noria.errors import UnknownName
from noria.records import (
    Conversation,
    Labelled,
    Pair,
    Preference,
    Record,
    Source,
    Tagged,
    content_text,
    shape_of,
)

MAX_NAMES = 40  # of what there is, in an error
T = TypeVar("T")


@dataclass(frozen=True)
class Selection:
    """Which records are wanted; what is empty does not matter. `source`: a source or a file."""

    shape: str = ""
    split: str = ""
    source: str = ""
    language: str = ""
    label: str = ""


@dataclass(frozen=True)
class Shown:
    """A record as a person reads it: where it stands, where it came from, what it says."""

    file: str
    line: int
    split: str
    shape: str
    language: str
    source: Source
    text: str


@dataclass(frozen=True)
class Lost:
    """Something that is in no split: where that is written, where it came from, why, and more."""

    file: str
    line: int
    source: Source
    reason: str
    more: dict[str, Any]


@dataclass
class Smallest(Generic[T]):
    """Keeps those `count` of all that are offered whose key has the smallest hash."""

    count: int
    seed: int = 0
    _heap: list[tuple[int, int, T]] = field(default_factory=list)
    _offered: int = 0

    def offer(self, key: str, make: Callable[[], T]) -> None:
        """Consider one; `make` is called only if it is kept for now."""
        self._offered += 1
        digest = blake2b(f"{self.seed}:{key}".encode(), digest_size=8).digest()
        rank = -int.from_bytes(digest, "big")  # the heap's first is the one that goes
        if len(self._heap) < self.count:
            heapq.heappush(self._heap, (rank, self._offered, make()))
        elif self.count and rank > self._heap[0][0]:
            heapq.heapreplace(self._heap, (rank, self._offered, make()))

    def kept(self) -> list[T]:
        """What is kept, in the order in which it was offered."""
        return [one for _, _, one in sorted(self._heap, key=lambda entry: entry[1])]


def shown(stored: Stored) -> Shown:
    """A stored record as a person reads it."""
    record = stored.record
    return Shown(
        file=stored.file,
        line=stored.line,
        split=stored.split,
        shape=shape_of(record),
        language=language_of(record),
        source=record.source,
        text=readable(record),
    )


def readable(record: Record) -> str:
    """A record's texts with what each is: roles, labels, tags in brackets, both sides of a pair."""
    match record:
        case Conversation():
            turns = (f"{one.role}: {content_text(one.content)}" for one in record.messages)
            return "\n".join(turns)
        case Labelled():
            return f"{content_text(record.content)}\n→ {', '.join(record.labels)}"
        case Tagged():
            return _with_tags(record)
        case Pair():
            return f"{content_text(record.input)}\n→ {content_text(record.target)}"
        case Preference():
            prompt, chosen, rejected = map(
                content_text, (record.prompt, record.chosen, record.rejected)
            )
            return f"{prompt}\n✓ {chosen}\n✗ {rejected}"
        case _:
            return whole_text(record)


def _with_tags(record: Tagged) -> str:
    text, end, pieces = content_text(record.content), 0, []
    for span in sorted(record.spans, key=lambda one: (one.start, one.end)):
        if span.start >= end:  # of tags that overlap the first is shown
            pieces += [text[end : span.start], f"[{text[span.start : span.end]}]({span.tag})"]
            end = span.end
    return "".join([*pieces, text[end:]])


def choose_records(folder: Path, wanted: Selection, count: int, seed: int = 0) -> list[Shown]:
    """Some of the records that fit. Raises UnknownName if none does, naming what there is."""
    chosen: Smallest[Shown] = Smallest(count, seed)
    names: dict[str, set[str]] = {name: set() for name in ("shape", "source", "language", "label")}
    for stored in stored_records(folder):
        record = stored.record
        found = _names_of(record)
        for name, some in found.items():
            if len(names[name]) < MAX_NAMES:
                names[name].update(some)
        if _fits(stored, found, wanted):
            chosen.offer(f"{stored.file}:{stored.line}", lambda one=stored: shown(one))  # type: ignore[misc]
    kept = chosen.kept()
    if not kept:
        there = "; ".join(
            f"{name}: {', '.join(sorted(some)[:MAX_NAMES])}" for name, some in names.items() if some
        )
        raise UnknownName(f"no record fits {_said(wanted)}", f"of what there is ({there})")
    return kept


def _names_of(record: Record) -> dict[str, set[str]]:
    labels: set[str] = set()
    if isinstance(record, Labelled):
        labels = set(record.labels)
    elif isinstance(record, Tagged):
        labels = {span.tag for span in record.spans}
    return {
        "shape": {shape_of(record)},
        "source": {source_name(record.source)},
        "language": {language_of(record)},
        "label": labels,
    }


def _fits(stored: Stored, found: dict[str, set[str]], wanted: Selection) -> bool:
    return (
        wanted.split in ("", stored.split)
        and (not wanted.shape or wanted.shape in found["shape"])
        and (not wanted.language or wanted.language in found["language"])
        and (not wanted.label or wanted.label in found["label"])
        and _from_source(stored.record.source, wanted.source)
    )


def _from_source(source: Source, wanted: str) -> bool:
    return not wanted or wanted in (source.file, source_name(source))


def _said(wanted: Selection) -> str:
    said = [f"{name} {value!r}" for name, value in vars(wanted).items() if value]
    return ", ".join(said) or "an empty corpus"


def choose_left_out(
    folder: Path, reason: str, source: str, count: int, seed: int = 0
) -> list[Lost]:
    """Some of the records that a step left out for a reason, or for any; from a source, or any."""

    def found() -> Iterator[Lost]:
        for line, value in left_out(folder):
            more = {key: one for key, one in value.items() if key not in ("reason", "source")}
            yield Lost("dropped.jsonl", line, source_of(value["source"]), value["reason"], more)

    return _choose(found(), reason, source, count, seed)


def choose_in_quarantine(
    folder: Path, reason: str, source: str, count: int, seed: int = 0
) -> list[Lost]:
    """Some of what could not be read, likewise; a reason fits that holds what is asked for."""

    def found() -> Iterator[Lost]:
        for line, value in in_quarantine(folder):
            place = Source(value["file"], value["line"])
            more = {"value": value["value"]}
            yield Lost("quarantine.jsonl", line, place, value["reason"], more)

    return _choose(found(), reason, source, count, seed)


def _choose(every: Iterable[Lost], reason: str, source: str, count: int, seed: int) -> list[Lost]:
    chosen: Smallest[Lost] = Smallest(count, seed)
    reasons: set[str] = set()
    for one in every:
        if len(reasons) < MAX_NAMES:
            reasons.add(one.reason)
        if reason.casefold() in one.reason.casefold() and _from_source(one.source, source):
            chosen.offer(f"{one.file}:{one.line}", lambda one=one: one)  # type: ignore[misc]
    kept = chosen.kept()
    if not kept:
        there = "; ".join(sorted(reasons)) or "nothing"
        asked = f"{reason!r}" + (f" from {source!r}" if source else "")
        raise UnknownName(f"nothing was left out for {asked}", f"one of: {there}")
    return kept
