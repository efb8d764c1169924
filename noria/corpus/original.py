"""From a record back to the file that it was read from, as that file lies there today.

In: a record and where the recipe's files lie. Out: the path, the bytes of its place, and the record
that the same reader finds at that place now, before it is cleaned. Nothing is fetched: what lies
behind a URL, or in a package that is not in the cache, is named and not opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from noria.artifacts import file_digest
from noria.corpus.choose import readable
from noria.corpus.read import Quarantined, SourceFile, Wanted, read_file
from noria.corpus.read.archives import is_archive
from noria.corpus.read.compressed import TORN
from noria.corpus.read.encodings import Encoding
from noria.corpus.read.files import open_file
from noria.corpus.read.lines import find_encoding
from noria.corpus.read.remote import is_url
from noria.errors import NoriaError
from noria.records import Record, Source, shape_of

MAX_BYTES = 4000  # of what stands there
UNITS = {  # what a source's line counts in files that have no lines
    ".pdf": "page",
    ".epub": "chapter",
    ".parquet": "row",
    ".pq": "row",
    ".mo": "entry",
    ".gmo": "entry",
}


@dataclass(frozen=True)
class Original:
    """The place of a record: file, line (or page, row …), bytes [start, end) if they are known.

    `path` is empty where the file is not here, `raw` where no bytes are known, `read` where no
    record is found at that place any more; then `problem` says why.
    """

    file: str
    path: str
    unit: str
    line: int
    byte_start: int
    byte_end: int
    raw: str
    read: str
    problem: str


def find_original(
    record: Record, folder: Path, packages: Mapping[str, Path], ways: Iterable[Wanted]
) -> Original:
    """Look a record's place up; `ways`: how the recipe may have had its file read."""
    source = record.source
    name, path = _container(source.file, folder, packages)
    if path is None:
        return _original(source, "", problem=_why_not_here(source))
    try:
        file = SourceFile(name, path, file_digest(path))
        raw = _bytes_there(file, source) if source.byte_end and name == source.file else ""
        read = _read_again(file, record, ways)
    except (NoriaError, OSError, *TORN) as error:
        return _original(source, str(path), problem=str(error))
    problem = "" if read else "no such record stands there now: the file or its settings changed"
    return _original(source, str(path), raw, read, problem)


def _original(
    source: Source, path: str, raw: str = "", read: str = "", problem: str = ""
) -> Original:
    unit = next((unit for end, unit in UNITS.items() if source.file.lower().endswith(end)), "line")
    return Original(
        file=source.file,
        path=path,
        unit=unit,
        line=source.line,
        byte_start=source.byte_start,
        byte_end=source.byte_end,
        raw=raw,
        read=read,
        problem=problem,
    )


def _container(name: str, folder: Path, packages: Mapping[str, Path]) -> tuple[str, Path | None]:
    """The file on the disk that a name is, or the archive that holds it, and its own name."""
    if is_url(name):
        return name, None
    parts = PurePosixPath(name).parts
    for length in range(len(parts), 0, -1):
        own = str(PurePosixPath(*parts[:length]))
        if length < len(parts) and not is_archive(own):
            continue
        path = _path_of(own, folder, packages)
        if path is not None and path.is_file():
            return own, path
    return name, None


def _path_of(name: str, folder: Path, packages: Mapping[str, Path]) -> Path | None:
    if not name.startswith("package:"):
        return folder / name
    package, _, inner = name.removeprefix("package:").partition("/")
    return packages[package] / inner if package in packages else None


def _why_not_here(source: Source) -> str:
    if is_url(source.file):
        return "it lies behind a URL, which is not fetched for this"
    if source.interaction:
        return f"it came from interaction {source.interaction}"
    return "the file is not there any more"


def _bytes_there(file: SourceFile, source: Source) -> str:
    """The text of a byte range; of a compressed file in what it holds."""
    encoding: Encoding = find_encoding(file)
    with open_file(file) as stream:
        left = source.byte_start
        while left > 0:  # a decompressed stream can't jump
            skipped = len(stream.read(min(left, 1 << 20)))
            if not skipped:
                return ""
            left -= skipped
        data = stream.read(min(source.byte_end - source.byte_start, MAX_BYTES))
    return data.decode(encoding.name, errors="replace")


def _read_again(file: SourceFile, record: Record, ways: Iterable[Wanted]) -> str:
    """What a reader finds at the record's place: the first record of its shape with its source."""
    for wanted in ways:
        if wanted.shape not in ("", shape_of(record)):
            continue
        for found in read_file(file, wanted, lambda shape, how: None):
            if isinstance(found, Quarantined) or found.source != record.source:
                continue
            if shape_of(found) == shape_of(record):
                return readable(found)[:MAX_BYTES]
    return ""
