"""What every reader gives back, and how it says what it understood."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from noria.corpus.read.quarantine import Quarantined
from noria.records import Record

Found = Iterator[Record | Quarantined]
Say = Callable[[str, str], None]  # the shape of the records, and how the file was read
