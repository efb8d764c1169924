"""Archives of many files: unpacked into a temporary folder, checked and bounded, then read.

In: a .zip or .tar, compressed or not. Out: what the readers of its members give, whose files are
named `ARCHIVE/MEMBER`. An archive that is torn, unpacks to far more than its size, or holds a path
that leaves it, is refused whole: who makes such a file is not to be trusted with a part of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from noria.artifacts import file_digest
from noria.corpus.read.columns import Wanted
from noria.corpus.read.files import SourceFile
from noria.corpus.read.quarantine import quarantined
from noria.corpus.read.reader import Found, Say
from noria.corpus.unpack import extract

ENDINGS = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz")
ReadFile = Callable[[SourceFile, Wanted, Say], Found]


def is_archive(name: str) -> bool:
    """Whether a file's name is that of an archive."""
    return name.lower().endswith(ENDINGS)


def read_archive(file: SourceFile, wanted: Wanted, say: Say, read_file: ReadFile) -> Found:
    """Yield what is in the members of an archive, in the order of their names.

    An archive in an archive is quarantined. Raises FormatError as `unpack.extract` does.
    """
    with tempfile.TemporaryDirectory(prefix="noria-") as folder:
        root = Path(folder)
        extract(file.path, root)
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix()
            if not path.is_file() or _is_hidden(name):
                continue
            member = SourceFile(f"{file.name}/{name}", path, file_digest(path))
            if not name.isprintable():
                yield quarantined(file.name, 0, name, "a member whose name is no readable text")
            elif is_archive(name):
                yield quarantined(member.name, 0, "", "an archive in an archive")
            else:
                yield from read_file(member, wanted, say)


def _is_hidden(name: str) -> bool:
    """Names that begin with a dot, as in folders, and what macOS adds to every zip."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
