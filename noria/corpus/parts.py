"""Files to parts of a table: read, cleaned, de-identified, in several processes, kept if stopped.

In: the files that a recipe names, in order. Out: a table of clean records, the account of what was
read and lost, and what cleaning changed. Small files are read by the processes, several to a part;
a large one is read here and dealt out in pieces. How parts are cut depends on the files alone, so
one that was finished before a stop is taken as it is, and any number of processes gives the same.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

from noria.corpus.cleaning import Cleaner
from noria.corpus.contents import record_text
from noria.corpus.language import language_namer
from noria.corpus.minhash import MinHasher
from noria.corpus.part_writer import PartWriter, is_whole
from noria.corpus.read import (
    Intake,
    Listener,
    Quarantined,
    Request,
    Said,
    SourceFile,
    Wanted,
    read_file,
)
from noria.corpus.read.archives import is_archive
from noria.corpus.read.formats import format_of
from noria.corpus.report import Progress
from noria.corpus.table import Table
from noria.corpus.workers import Task, Workers
from noria.records import (
    Pair,
    Record,
    Source,
    record_from_json,
    record_texts,
    record_to_json,
    shape_of,
)
from noria.text_settings import CorpusSettings, QualitySettings

PART_BYTES = 1 << 20  # of files, or of the text of a large one
PART_FILES = 200
LARGE_BYTES = 4 << 20  # from here on a file is read here, while others clean; those that have to be
LINES = ("text", "tagged", "csv", "tsv", "jsonl", "json", "conll")  # parsed whole, by one of them


@dataclass
class Read:
    """What reading and cleaning found; the records are in the table."""

    intake: Intake = field(default_factory=Intake)
    changed: int = 0
    identities: Counter[str] = field(default_factory=Counter)
    too_short: list[Source] = field(default_factory=list)


def read_parts(
    requests: Sequence[Request],
    settings: CorpusSettings,
    table: Table,
    quarantine: TextIO,
    workers: Workers,
    progress: Progress,
) -> Read:
    """Fill the table; what is in quarantine is written as JSON lines, its values de-identified.

    `progress` gets ("read", done, total) in bytes of files. Raises InputError for a file that
    changed, MissingExtra where an optional library is needed.
    """
    read = Read()
    sizes = [max(1, one.file.path.stat().st_size) for one in requests]
    done, total = 0, sum(sizes)
    progress("read", 0, total)
    tasks = _tasks(requests, sizes, settings, table, read)
    for number, answer in enumerate(workers.map(make_part, tasks)):
        _take(table.add(table.folder / f"{number:06}"), read, quarantine)
        done = min(total, done + answer["bytes"])
        progress("read", done, total)
    progress("read", total, total)
    return read


def _take(about: Mapping[str, Any], read: Read, quarantine: TextIO) -> None:
    """Add what a part's maker says of it."""
    read.changed += about["changed"]
    read.identities.update(about["identities"])
    read.too_short += [Source(**one) for one in about["too_short"]]
    read.intake.hear(Said(**one) for one in about["understood"])
    read.intake.num_read.update(about["num_read"])
    read.intake.num_synthetic += about["num_synthetic"]
    for one in about["quarantined"]:
        read.intake.lose(Quarantined(**one))
        quarantine.write(json.dumps(one, ensure_ascii=False) + "\n")


def _tasks(
    requests: Sequence[Request],
    sizes: Sequence[int],
    settings: CorpusSettings,
    table: Table,
    read: Read,
) -> Iterator[Task]:
    """What is to be done for each part, in order; they are numbered as they come."""
    said = asdict(settings)
    number = 0

    def task(what: str, given: list[Any], size_bytes: int) -> Task:
        nonlocal number
        number += 1
        kept = {"folder": str(table.folder), "number": number - 1, "bytes": size_bytes}
        return {**kept, "settings": said, what: given}

    group: list[Request] = []
    group_bytes = 0
    for request, size_bytes in zip(requests, sizes, strict=True):
        lines = format_of(request.file, request.wanted) in LINES
        large = size_bytes > LARGE_BYTES and lines and not is_archive(request.file.name)
        full = group_bytes + size_bytes > PART_BYTES or len(group) >= PART_FILES
        if group and (large or full):
            yield task("requests", [_request_json(one) for one in group], group_bytes)
            group, group_bytes = [], 0
        if large:
            listener = Listener()
            for found, size in _pieces(request, listener, size_bytes):
                yield task("found", found, size)
            read.intake.hear(listener.heard)
        else:
            group.append(request)
            group_bytes += size_bytes
    if group:
        yield task("requests", [_request_json(one) for one in group], group_bytes)


def _pieces(
    request: Request, listener: Listener, size_bytes: int
) -> Iterator[tuple[list[Task], int]]:
    """What a large file holds, in pieces, with about how many of its bytes each is."""
    piece: list[Task] = []
    characters = 0
    for found in read_file(request.file, request.wanted, listener.say):
        listener.count(found)
        if isinstance(found, Quarantined):
            piece.append({"quarantined": asdict(found)})
            characters += 1000  # or a file of nothing but wrong rows would be one piece
        else:
            one = replace(found, synthetic=request.synthetic)
            piece.append({"record": record_to_json(one)})
            characters += len(record_text(found))
        if characters >= PART_BYTES:
            yield piece, characters
            piece, characters = [], 0
    if piece:
        yield piece, characters


def make_part(task: Task) -> Task:
    """Read or take the records of a part, clean and write them; what was done already stays."""
    folder, number = Path(task["folder"]), task["number"]
    if not is_whole(folder, number):
        _make_part(task, folder, number)
    return {"bytes": task["bytes"]}


def _make_part(task: Task, folder: Path, number: int) -> None:
    settings = _settings(json.dumps(task["settings"]))
    cleaner = Cleaner(settings)
    writer = PartWriter(folder, number, _hasher())
    heard: list[Said] = []
    lost: list[Quarantined] = []
    too_short: list[Source] = []
    num_read: Counter[str] = Counter()
    num_synthetic = 0
    for found in _found(task, heard):
        if isinstance(found, Quarantined):
            value, reason = cleaner.hide(found.value), cleaner.hide(found.reason)
            lost.append(replace(found, value=value, reason=reason))
            continue
        if found.synthetic:
            num_synthetic += 1
        else:
            num_read[shape_of(found)] += 1
        clean = cleaner.clean(found)
        if clean is None:
            too_short.append(found.source)
        else:
            writer.add(*with_language(clean, settings.language))
    writer.close(
        {
            "changed": cleaner.changed,
            "identities": cleaner.identities,
            "num_read": num_read,
            "num_synthetic": num_synthetic,
            "too_short": [asdict(one) for one in too_short],
            "quarantined": [asdict(one) for one in lost],
            "understood": [asdict(one) for one in heard],
        }
    )


def _found(task: Task, heard: list[Said]) -> Iterator[Record | Quarantined]:
    """What a part holds: of files that are read now, or as another process found it."""
    for one in task.get("found", ()):
        if "record" in one:
            yield record_from_json(one["record"])
        else:
            yield Quarantined(**one["quarantined"])
    for one in task.get("requests", ()):
        listener = Listener()
        file = SourceFile(one["name"], Path(one["path"]), one["sha256"])
        for found in read_file(file, Wanted(**one["wanted"]), listener.say):
            listener.count(found)
            if one["synthetic"] and not isinstance(found, Quarantined):
                found = replace(found, synthetic=True)
            yield found
        heard += listener.heard


def with_language(record: Record, how: str) -> tuple[Record, str]:
    """The record, with its language where languages are named, and what is counted of it."""
    name = language_namer(how)
    texts = record_texts(record) if isinstance(record, Pair) else [record_text(record)]
    language = "→".join(map(name, texts))
    return (replace(record, language=language) if how == "named" else record), language


def _request_json(one: Request) -> Task:
    file = {"name": one.file.name, "path": str(one.file.path), "sha256": one.file.sha256}
    return {**file, "wanted": asdict(one.wanted), "synthetic": one.synthetic}


@lru_cache(maxsize=4)
def _settings(said: str) -> CorpusSettings:
    values: dict[str, Any] = json.loads(said)
    quality = QualitySettings(**values.pop("quality"))
    lists = {name: tuple(one) for name, one in values.items() if isinstance(one, list)}
    return CorpusSettings(quality=quality, **{**values, **lists})


@lru_cache(maxsize=1)
def _hasher() -> MinHasher:
    return MinHasher()
