"""CSV and TSV to rows.

In: lines. Out: a row for each, with line and byte range; a field in quotes may run over lines. A
quote that nothing closes would swallow the rest of the file: its line alone is quarantined.

The first line names the columns, unless the recipe names them by number, from 1.
"""

from __future__ import annotations

import csv
from collections import Counter, deque
from collections.abc import Iterator
from itertools import islice

from noria.corpus.read.columns import Wanted
from noria.corpus.read.files import SourceFile, plain_name
from noria.corpus.read.lines import MAX_LINE_BYTES, Line, find_encoding, text_lines
from noria.corpus.read.quarantine import Quarantined, quarantined
from noria.corpus.read.reader import Found, Say
from noria.corpus.read.rows import read_rows
from noria.corpus.read.shapes import Row
from noria.errors import InputError
from noria.records import Source

MAX_QUOTED_LINES = 10_000  # of one field
MAX_QUOTED_CHARACTERS = 1 << 20
MAX_COLUMNS = 10_000
SNIFFED_LINES = 50
_DELIMITERS = ",;\t|"


def read_table(file: SourceFile, wanted: Wanted, say: Say) -> Found:
    """Yield the records of a CSV or TSV file. Raises InputError for no text or unknown columns."""
    rows, name = table_rows(file, wanted)
    yield from read_rows(file, rows, wanted, say, name)


def table_rows(file: SourceFile, wanted: Wanted) -> tuple[Iterator[Row | Quarantined], str]:
    """The rows of a CSV or TSV file, and what it is, in a few words. Raises InputError."""
    encoding = find_encoding(file, wanted.encoding)
    lines = text_lines(file, encoding)
    if plain_name(file).endswith((".tsv", ".tab")) or wanted.format == "tsv":
        fields = _tab_fields(lines)
        name = "TSV"
    else:
        head = list(islice(lines, SNIFFED_LINES))
        delimiter = _delimiter([one.text for one in head if isinstance(one, Line)])
        fields = _quoted_fields(_Pushback(file, head, lines), delimiter)
        name = "CSV" if delimiter == "," else f"CSV parted by {delimiter!r}"
    return _rows(file, fields, wanted), f"{name}, {encoding.says()}"


_Fields = Iterator[tuple[Line, list[str]] | Quarantined]


def _rows(file: SourceFile, fields: _Fields, wanted: Wanted) -> Iterator[Row | Quarantined]:
    """Fields with the names of their columns; the first fields are the names."""
    by_number = bool(wanted.columns) and all(n.isdecimal() for n in wanted.columns.values())
    names: list[str] = []
    for found in fields:
        if isinstance(found, Quarantined):
            yield found
            continue
        line, values = found
        if not names:
            numbers = [str(number + 1) for number in range(len(values))]
            names = numbers if by_number else _header(values)
            if not by_number:
                continue
        if len(values) != len(names):
            reason = f"{len(values)} fields where {len(names)} are expected"
            yield quarantined(file.name, line.number, line.text, reason)
            continue
        where = f"{file.name}:{line.number}"
        source = Source(file.name, line.number, line.start, line.end)
        yield Row(dict(zip(names, values, strict=True)), source, where)


def _header(values: list[str]) -> list[str]:
    """The names of the columns; one that is empty or stands twice gets its number too."""
    if len(values) > MAX_COLUMNS:
        raise InputError(f"{len(values)} columns", f"at most {MAX_COLUMNS}")
    counts = Counter(value.strip() for value in values)
    return [
        name if (name := value.strip()) and counts[name] == 1 else f"{name} {number}".strip()
        for number, value in enumerate(values, start=1)
    ]


def _tab_fields(lines: Iterator[Line | Quarantined]) -> _Fields:
    """Fields between tabs: a line is a row, and quotes mean something only around a whole field."""
    for line in lines:
        if isinstance(line, Quarantined):
            yield line
        else:
            yield line, [_unquoted(one) for one in line.text.rstrip("\r").split("\t")]


def _unquoted(field: str) -> str:
    inner = field[1:-1]
    if len(field) >= 2 and field[0] == field[-1] == '"' and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"')
    return field


class _Pushback:
    """Lines of which some can be handed back, to be read again."""

    def __init__(
        self, file: SourceFile, head: list[Line | Quarantined], rest: Iterator[Line | Quarantined]
    ) -> None:
        self.file = file
        self._held = deque(head)
        self._rest = rest

    def next(self) -> Line | Quarantined | None:
        return self._held.popleft() if self._held else next(self._rest, None)

    def back(self, lines: list[Line | Quarantined]) -> None:
        self._held.extendleft(reversed(lines))


def _quoted_fields(lines: _Pushback, delimiter: str) -> _Fields:
    """Fields as RFC 4180 has them."""
    csv.field_size_limit(2 * MAX_LINE_BYTES)  # the module's own limit is a global of 128 KiB
    while (line := lines.next()) is not None:
        if isinstance(line, Quarantined):
            yield line
            continue
        whole = _closed(line, lines, delimiter)
        if whole is None:
            reason = "a quote that nothing closes"
            yield quarantined(lines.file.name, line.number, line.text, reason)
            continue
        try:
            fields = next(csv.reader([whole.text], delimiter=delimiter), [])
        except (csv.Error, StopIteration) as error:
            yield quarantined(lines.file.name, line.number, whole.text, f"no CSV: {error}")
            continue
        yield whole, fields


def _closed(line: Line, lines: _Pushback, delimiter: str) -> Line | None:
    """A line with those behind it that its quotes hold; None, and they are put back, if endless."""
    is_open = _is_open(line.text, False, delimiter)
    if not is_open:
        return Line(line.number, line.start, line.end, line.text.rstrip("\r"))
    taken: list[Line | Quarantined] = []
    texts, num_characters = [line.text], 0
    while is_open:
        more = lines.next()
        if more is not None:
            taken.append(more)
        too_long = len(taken) > MAX_QUOTED_LINES or num_characters > MAX_QUOTED_CHARACTERS
        if more is None or isinstance(more, Quarantined) or too_long:
            lines.back(taken)
            return None
        # Blank lines are not among the lines: their number says how many stood between.
        previous = taken[-2] if len(taken) > 1 else line
        gap = more.number - previous.number if isinstance(previous, Line) else 1
        texts.append("\n" * (gap - 1) + more.text)
        num_characters += len(more.text)
        is_open = _is_open(more.text, True, delimiter)
        end = more.end
    return Line(line.number, line.start, end, "\n".join(texts).rstrip("\r"))


def _is_open(text: str, is_open: bool, delimiter: str) -> bool:
    """Whether a quoted field goes on behind this line."""
    place = 0
    while True:
        if not is_open:
            if text[place : place + 1] == '"':
                is_open, place = True, place + 1
            else:
                place = text.find(delimiter, place) + 1
                if not place:
                    return False
                continue
        place = text.find('"', place)
        if place < 0:
            return True
        if text[place + 1 : place + 2] == '"':
            place += 2
        else:
            is_open = False
            place = text.find(delimiter, place) + 1
            if not place:
                return False


def _delimiter(lines: list[str]) -> str:
    """What parts the fields: that which gives most lines the same number of them, above one."""
    best, best_share = ",", 0.0
    for delimiter in _DELIMITERS:
        try:
            counts = Counter(len(fields) for fields in csv.reader(lines, delimiter=delimiter))
        except csv.Error:
            continue
        width, common = counts.most_common(1)[0] if counts else (1, 0)
        share = common / sum(counts.values()) if width > 1 else 0.0
        if share > best_share:
            best, best_share = delimiter, share
    return best
