"""Rows of any table to records: understand a sample first, then turn every row.

In: rows (or what is wrong with them) in file order. Out: records and quarantine in the same order.
Only the sample is held.
"""

from __future__ import annotations

from collections.abc import Iterator

from noria.corpus.read.columns import Wanted, understand
from noria.corpus.read.files import SourceFile
from noria.corpus.read.quarantine import Quarantined, WrongRow, quarantined
from noria.corpus.read.reader import Found, Say
from noria.corpus.read.shapes import Row, row_records, row_text
from noria.errors import InputError

SAMPLE_ROWS = 1000
SAMPLE_BYTES = 8 << 20


def read_rows(
    file: SourceFile, rows: Iterator[Row | Quarantined], wanted: Wanted, say: Say, format_: str
) -> Found:
    """The records of rows. Raises InputError where no column is understood."""
    sample: list[Row | Quarantined] = []
    size = 0
    for row in rows:
        if isinstance(row, Quarantined) and not sample:
            yield row  # nothing is understood yet, and nothing has to wait
            continue
        sample.append(row)
        size += row.source.byte_end - row.source.byte_start if isinstance(row, Row) else 0
        if len(sample) >= SAMPLE_ROWS or size >= SAMPLE_BYTES:
            break
    good = [row.values for row in sample if isinstance(row, Row)]
    if not good:
        return
    try:
        understood = understand(good, wanted)
    except InputError:
        yield from (row for row in sample if isinstance(row, Quarantined))
        raise
    say(understood.shape, f"{format_}; {understood.says()}")

    def turned(row: Row | Quarantined) -> Found:
        if isinstance(row, Quarantined):
            yield row
            return
        try:
            yield from row_records(row, understood)
        except WrongRow as error:
            value = row_text(row.values)
            yield quarantined(file.name, row.source.line, value, error.reason)

    for row in sample:
        yield from turned(row)
    del sample, good
    for row in rows:
        yield from turned(row)
