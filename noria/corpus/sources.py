"""The name of the source that a record came from: what reports count by.

In: where a record came from. Out: a short name, the same on every machine.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from noria.records import Source


def source_name(source: Source) -> str:
    """`package:NAME`, the first folder of a relative name ('.' for none), or an absolute folder."""
    path = PurePosixPath(source.file)
    if path.is_absolute():
        return path.parent.as_posix()
    return path.parts[0] if len(path.parts) > 1 else "."
