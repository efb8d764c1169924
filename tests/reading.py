"""Files for readers, and what readers make of them, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

from noria.artifacts import file_digest
from noria.corpus.read import Quarantined, SourceFile, Wanted, read_file
from noria.records import Record


def file_of(folder: Path, name: str, data: bytes | str) -> SourceFile:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return SourceFile(name, path, file_digest(path))


def read(
    file: SourceFile, wanted: Wanted | None = None, said: list[str] | None = None
) -> tuple[list[Record], list[Quarantined]]:
    records: list[Record] = []
    lost: list[Quarantined] = []
    notes = said if said is not None else []
    for found in read_file(
        file, wanted or Wanted(), lambda shape, how: notes.append(f"{shape}: {how}")
    ):
        if isinstance(found, Quarantined):
            lost.append(found)
        else:
            records.append(found)
    return records, lost
