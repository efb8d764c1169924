"""Find the files that a recipe names, and read them as strict UTF-8.

In: globs, the recipe's folder, the folders of fetched packages. Out: files with stable names and
digests. This module does not know what is written in them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from noria.artifacts import file_digest
from noria.errors import InputError

BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class SourceFile:
    """A file to read: its name in records, the same on every machine, its path and its SHA-256."""

    name: str
    path: Path
    sha256: str


def find_files(
    globs: Iterable[str], recipe_folder: Path, packages: Mapping[str, Path]
) -> list[SourceFile]:
    """Every file that a glob matches, once, sorted by name.

    A glob is relative to the recipe, absolute, or `package:NAME/glob` inside a fetched package.
    Hidden files and folders are left out unless the glob names them. Raises InputError for a glob
    that matches no file, or a file whose name can't be written down.
    """
    found: dict[str, Path] = {}
    for glob in globs:
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
    matches = _glob(root, pattern)
    return {f"package:{name}/{path.relative_to(root).as_posix()}": path for path in matches}


def _own_files(glob: str, recipe_folder: Path) -> dict[str, Path]:
    if glob.startswith("package:"):
        return {}
    pattern = Path(glob)
    if pattern.is_absolute():
        root = Path(pattern.anchor)
        return {path.as_posix(): path for path in _glob(root, str(pattern.relative_to(root)))}
    matches = _glob(recipe_folder, glob)
    return {path.relative_to(recipe_folder).as_posix(): path for path in matches}


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


def read_bytes(file: SourceFile) -> bytes:
    """The bytes of a file. Raises InputError if it can't be read, is empty, or holds a NUL byte."""
    try:
        data = file.path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{file.name} can't be read ({error.strerror})", "a readable file", "check the path"
        ) from error
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise InputError(
            f"{file.name} changed while it was read",
            "files that keep still",
            "run the same command again",
        )
    if not data.removeprefix(BOM).strip():
        raise InputError(f"{file.name} is empty", "a file with text", "fill it or leave it out")
    position = data.find(b"\0")
    if position >= 0:
        raise InputError(
            f"{file.name}:{line_at(data, position)}: NUL at byte {position}, a binary file",
            "text in UTF-8",
            "leave it out, or convert it to UTF-8",
        )
    return data


def decode(file: SourceFile, data: bytes, start: int, end: int) -> str:
    """Bytes [start, end) of a file as text. Raises InputError naming line and byte of a fault."""
    try:
        return data[start:end].decode("utf-8")
    except UnicodeDecodeError as error:
        position = start + error.start
        raise InputError(
            f"{file.name}:{line_at(data, position)}: byte {position} "
            f"(0x{data[position]:02x}) is not UTF-8",
            "text in UTF-8",
            f"convert it, such as: iconv -f GB18030 -t UTF-8 {file.path.name}",
        ) from error


def text_lines(file: SourceFile) -> Iterator[tuple[int, int, int, str]]:
    """Number (from 1), byte range and text of every line that is not blank. Raises InputError."""
    data = read_bytes(file)
    start = len(BOM) if data.startswith(BOM) else 0
    number = 0
    while start < len(data):
        number += 1
        newline = data.find(b"\n", start)
        end = newline if newline >= 0 else len(data)
        text = decode(file, data, start, end)
        if text.strip():
            yield number, start, end, text
        start = end + 1


def line_at(data: bytes, position: int) -> int:
    """Number (from 1) of the line that a byte stands in."""
    return data.count(b"\n", 0, position) + 1
