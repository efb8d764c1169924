"""Find the files that a recipe names, and open them.

In: globs, folders, URLs, the recipe's folder, the folders of fetched packages. Out: files with
stable names and digests, and their bytes. This module does not know what is written in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from noria.artifacts import file_digest
from noria.corpus.read.compressed import TORN, ending_of, open_stream
from noria.corpus.read.remote import fetch_remote, is_url
from noria.errors import InputError

MAX_WHOLE_BYTES = 64 << 20  # of a file in a format that can't be read in pieces


@dataclass(frozen=True)
class SourceFile:
    """A file to read: its name in records, the same on every machine, its path and its SHA-256."""

    name: str
    path: Path
    sha256: str


def find_files(
    globs: Iterable[str],
    recipe_folder: Path,
    packages: Mapping[str, Path],
    cache: Path | None = None,
) -> list[SourceFile]:
    """Every file that a glob matches, once, sorted by name.

    A glob is relative to the recipe, absolute, `package:NAME/glob` inside a fetched package, or a
    URL that fsspec knows, whose files are copied into `cache`. A folder stands for all files in it.
    Hidden files and folders are left out unless the glob names them. Raises InputError for a glob
    that matches no file, or a file whose name can't be written down.
    """
    found: dict[str, Path] = {}
    for glob in globs:
        if cache is not None and is_url(glob):
            matches = fetch_remote(glob, cache)
        else:
            matches = _package_files(glob, packages) or _own_files(glob, recipe_folder)
        if not matches:
            raise InputError(
                f"{glob!r} matches no file",
                f"at least one file under {recipe_folder}",
                "mend the glob in the recipe",
            )
        found.update(matches)
    for name in found:
        if not name.isprintable():  # such as bytes that are no UTF-8: records could not name it
            raise InputError(f"{name!r} is no readable file name", "printable text", "rename it")
    return [SourceFile(name, path, file_digest(path)) for name, path in sorted(found.items())]


def _package_files(glob: str, packages: Mapping[str, Path]) -> dict[str, Path]:
    match = re.fullmatch(r"package:([^/]+)/(.+)", glob)
    if not match:
        return {}
    name, pattern = match.groups()
    if name not in packages:
        known = ", ".join(sorted(packages)) or "none"
        raise InputError(f"{glob!r} names no package of the recipe", f"one of: {known}")
    if ".." in PurePosixPath(pattern).parts or pattern.startswith("/"):
        raise InputError(f"{glob!r} leaves its package", "a glob inside the package")
    root = packages[name]
    matches = _glob(root, pattern) or _glob(root, f"{pattern.rstrip('/')}/**/*")
    return {f"package:{name}/{path.relative_to(root).as_posix()}": path for path in matches}


def _own_files(glob: str, recipe_folder: Path) -> dict[str, Path]:
    if glob.startswith("package:"):
        return {}
    if _is_folder(recipe_folder / glob):
        glob = f"{glob.rstrip('/')}/**/*"
    pattern = Path(glob)
    if pattern.is_absolute():
        root = Path(pattern.anchor)
        return {path.as_posix(): path for path in _glob(root, str(pattern.relative_to(root)))}
    matches = _glob(recipe_folder, glob)
    return {path.relative_to(recipe_folder).as_posix(): path for path in matches}


def _is_folder(path: Path) -> bool:
    try:
        return path.name not in ("", "..") and path.is_dir()
    except (OSError, ValueError):
        return False


def _glob(root: Path, pattern: str) -> list[Path]:
    try:
        paths = [path for path in root.glob(pattern) if path.is_file()]
    except (ValueError, IndexError, NotImplementedError, RecursionError, OSError) as error:
        shown = pattern if len(pattern) < 200 else pattern[:197] + "…"
        raise InputError(f"{shown!r} is no glob ({error})", "such as texts/**/*.txt") from error
    wants_hidden = re.search(r"(^|/)\.[^./]", pattern) is not None
    return [
        path
        for path in paths
        if wants_hidden or not any(_is_hidden(part) for part in path.relative_to(root).parts)
    ]


def _is_hidden(part: str) -> bool:
    return part.startswith(".") and part != ".."


@contextmanager
def open_file(file: SourceFile) -> Iterator[BinaryIO]:
    """Open a file as a stream of its bytes, decompressed if its name ends like `.gz`.

    Raises InputError if it can't be opened; reading a torn one raises as `compressed` says.
    """
    try:
        with open_stream(file.path, ending_of(file.name)) as stream:
            yield stream
    except OSError as error:
        if isinstance(error, TORN):
            raise
        raise InputError(
            f"can't be read ({error.strerror or error})", "a readable file", "check the path"
        ) from error


def read_bytes(file: SourceFile) -> bytes:
    """All bytes of a file. Raises InputError for one of more than MAX_WHOLE_BYTES, and as above."""
    with open_file(file) as stream:
        data = stream.read(MAX_WHOLE_BYTES + 1)
    if len(data) > MAX_WHOLE_BYTES:
        raise InputError(
            f"more than {MAX_WHOLE_BYTES >> 20} MiB in a format that must be read whole",
            "a smaller file",
            "split it, or convert it to JSON Lines",
        )
    return data


def plain_name(file: SourceFile) -> str:
    """The file's name in small letters, without the ending that says how it is compressed."""
    name = file.name.lower()
    return name.removesuffix(ending_of(name))
