"""Unpack an archive that nobody has looked into: regular files only, inside one folder, bounded.

In: a .tgz, .tar.gz, .tar.bz2, .zip or .whl. Out: its files in a folder, without the single top
folder that packages wrap them in. Links and devices are left out: nothing of the archive is run,
and nothing of it points elsewhere.
"""

from __future__ import annotations

import errno
import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from noria.errors import FormatError

MAX_FILES = 200_000
MAX_UNPACKED_BYTES = 8 << 30
MAX_RATIO = 200  # of what comes out to the archive's size: text shrinks to a third, tables more
FREE_BYTES = 64 << 20  # so much may come out of however little
_CHUNK_BYTES = 1 << 20
_TORN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,  # an encrypted zip, or one of an unknown compression
    ValueError,  # a size or a time that is no number
    OverflowError,
)


def unpack(archive: Path, folder: Path) -> int:
    """Unpack a package into an existing, empty folder, without its top folder.

    Returns the number of files. Raises FormatError as `extract` does.
    """
    num_files = extract(archive, folder)
    _strip_top(folder)
    return num_files


def extract(archive: Path, folder: Path) -> int:
    """Unpack an archive as it is into an existing, empty folder; returns the number of files.

    Raises FormatError for what is no archive, a path that leaves the folder, more than MAX_FILES
    files, MAX_UNPACKED_BYTES, or MAX_RATIO times the archive's size beyond FREE_BYTES.
    """
    num_files, num_bytes = 0, 0
    max_bytes = max(FREE_BYTES, MAX_RATIO * archive.stat().st_size)
    try:
        for name, file in _members(archive):
            target = folder.joinpath(*_inside(archive, name))
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as out:
                while chunk := file.read(_CHUNK_BYTES):
                    num_bytes += len(chunk)
                    if num_bytes > MAX_UNPACKED_BYTES:
                        raise _refuse(archive, f"more than {MAX_UNPACKED_BYTES} bytes unpacked")
                    if num_bytes > max_bytes:
                        raise _refuse(archive, f"more than {MAX_RATIO} times its size unpacked")
                    out.write(chunk)
            num_files += 1
            if num_files > MAX_FILES:
                raise _refuse(archive, f"more than {MAX_FILES} files")
    except _TORN as error:
        raise _refuse(archive, f"can't be read ({error})") from error
    except OSError as error:
        if not isinstance(error, FileExistsError | NotADirectoryError | IsADirectoryError):
            if error.errno == errno.ENOSPC:
                raise
            raise _refuse(archive, f"can't be unpacked ({error.strerror or error})") from error
        raise _refuse(archive, f"two entries of one name ({error.filename})") from error
    return num_files


def _refuse(archive: Path, what: str) -> FormatError:
    return FormatError(
        f"{archive.name}: {what}", "a package of plain files", "use another package or version"
    )


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of every regular file."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as source:
            for entry in source.infolist():
                kind = stat.S_IFMT(entry.external_attr >> 16)
                if not entry.is_dir() and kind in (0, stat.S_IFREG):
                    with source.open(entry) as content:
                        yield entry.filename, content
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            found = tar.extractfile(member) if member.isreg() else None
            if found is not None:
                yield member.name, found


def _inside(archive: Path, name: str) -> tuple[str, ...]:
    """The parts of a path that stays inside. Raises FormatError for one that does not."""
    path = PurePosixPath(name)
    parts = path.parts
    if not parts or path.is_absolute() or ".." in parts or any(c in name for c in "\\\0:"):
        raise _refuse(archive, f"a path outside of it: {name!r}")
    return parts


def _strip_top(folder: Path) -> None:
    """Move what lies in a single top folder (`package/`, `NAME-VERSION/`) up by one level."""
    entries = list(folder.iterdir())
    if len(entries) != 1 or not entries[0].is_dir():
        return
    aside = ".top"
    while (entries[0] / aside).exists():
        aside += "."
    top = entries[0].rename(folder / aside)
    for entry in list(top.iterdir()):
        entry.rename(folder / entry.name)
    shutil.rmtree(top)
