"""Parquet to records, a batch of rows at a time.

In: a Parquet file. Out: a row for each row, whose line is its number from 1. Needs pyarrow (the
extra `parquet`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from noria.corpus.read.columns import Wanted
from noria.corpus.read.compressed import ending_of
from noria.corpus.read.files import SourceFile
from noria.corpus.read.quarantine import Quarantined, quarantined
from noria.corpus.read.reader import Found, Say
from noria.corpus.read.rows import read_rows
from noria.corpus.read.shapes import Row
from noria.errors import InputError, MissingExtra
from noria.records import Source

BATCH_ROWS = 1000
MAX_GROUP_BYTES = 2 << 30  # of a row group unpacked, as its own footer says


def read_parquet(file: SourceFile, wanted: Wanted, say: Say) -> Found:
    """Yield the records of a Parquet file. Raises InputError for what is none, MissingExtra."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra(f"pyarrow, which reads {file.name},", "parquet") from error
    if ending_of(file.name):
        raise InputError("a compressed Parquet file", "one that is not", "unpack it")
    try:
        with pyarrow.parquet.ParquetFile(file.path, memory_map=False) as table:
            groups = [table.metadata.row_group(i) for i in range(table.metadata.num_row_groups)]
            if any(one.total_byte_size > MAX_GROUP_BYTES for one in groups):
                raise InputError("a row group of more than 2 GiB", "smaller ones", "write it again")
            yield from read_rows(file, _rows(file, table), wanted, say, "Parquet")
    except (pyarrow.ArrowException, OSError, ValueError, TypeError) as error:
        raise InputError(f"no whole Parquet file ({str(error)[:200]})", "Parquet") from error


def _rows(file: SourceFile, table: Any) -> Iterator[Row | Quarantined]:
    number = 0
    for batch in table.iter_batches(batch_size=BATCH_ROWS):
        try:
            rows = batch.to_pylist()
        except (ValueError, UnicodeDecodeError) as error:  # a string that is no UTF-8, a wild date
            reason = f"{batch.num_rows} rows of values that can't be read"
            yield quarantined(file.name, number + 1, str(error), reason)
            number += batch.num_rows
            continue
        for values in rows:
            number += 1
            yield Row(values, Source(file.name, number), f"{file.name}:{number}")
