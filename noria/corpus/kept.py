"""What a record in memory and an entry of a table on disk answer alike.

In: either. Out: the answer; an entry has most of them in its columns, and only its text is read.
"""

from __future__ import annotations

from noria.corpus.contents import record_text
from noria.corpus.language import guess_script
from noria.corpus.shingles import normal_digest, text_digest
from noria.corpus.table import Entry
from noria.records import Record, shape_of

Kept = Record | Entry


def whole_text(record: Kept) -> str:
    """All texts of a record as one."""
    return record_text(record.record if isinstance(record, Entry) else record)


def kept_shape(record: Kept) -> str:
    """One of the six."""
    return record.shape if isinstance(record, Entry) else shape_of(record)


def num_characters(record: Kept) -> int:
    """Length of the whole text."""
    return record.num_characters if isinstance(record, Entry) else len(whole_text(record))


def num_bytes(record: Kept) -> int:
    """Bytes of the whole text in UTF-8."""
    return record.num_bytes if isinstance(record, Entry) else len(whole_text(record).encode())


def script_of(record: Kept) -> str:
    """The script of the whole text, as `guess_script` names it."""
    return record.script if isinstance(record, Entry) else guess_script(whole_text(record))


def language_of(record: Kept) -> str:
    """The language that the corpus named, or else the script."""
    return record.language or script_of(record)


def whole_digest(record: Kept) -> bytes:
    """Names the whole text."""
    return record.digest if isinstance(record, Entry) else text_digest(whole_text(record))


def digest_but_for_spaces(record: Kept) -> bytes:
    """Names the whole text but for spaces and capital letters."""
    return record.normal if isinstance(record, Entry) else normal_digest(whole_text(record))


def source_order(record: Kept) -> tuple[str | int, ...]:
    """The file's name, then the position in it; a reader may give several records one position."""
    source = record.source
    return source.file, source.byte_start, source.line, source.byte_end, source.interaction
