"""A file as lines or blocks of text, in any encoding, never held whole.

In: a stream of bytes. Out: lines with number, byte range and text; what is no text, and a line that
is too long to be one, goes to quarantine. Byte ranges of a compressed file count in what it holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from noria.corpus.read.encodings import (
    Encoding,
    guess_encoding,
    is_binary,
    marked_encoding,
    named_encoding,
    wide_encoding,
)
from noria.corpus.read.files import SourceFile, open_file
from noria.corpus.read.quarantine import Quarantined, quarantined
from noria.errors import InputError

MAX_LINE_BYTES = 16 << 20
BLOCK_BYTES = 4 << 20  # below MAX_LINE_BYTES: only the first line of a block can be too long
HEAD_BYTES = 1 << 16
SCANNED_BYTES = 64 << 20  # so far a file is searched for what is not ASCII
SAMPLE_BYTES = 1 << 16


@dataclass(frozen=True)
class Line:
    """A line's number from 1, its bytes [start, end) without the line feed, and its text."""

    number: int
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class _Block:
    """Whole lines as bytes, from a line's start; only the head of an endless one."""

    number: int
    start: int
    data: bytes
    whole: bool = True


def find_encoding(file: SourceFile, named: str = "") -> Encoding:
    """The encoding of a file: the recipe's, its mark's, UTF-8, or the likeliest.

    Raises InputError for an empty file, a binary one, or one in no known encoding.
    """
    with open_file(file) as stream:
        head = stream.read(HEAD_BYTES)
        if named:
            return named_encoding(named, head)
        if not head.strip() and not stream.read(1):
            raise InputError("an empty file", "a file with text", "fill it or leave it out")
        marked = marked_encoding(head)
        if marked is not None:
            if not head[marked.mark_bytes :].strip():
                raise InputError("an empty file", "a file with text", "fill it or leave it out")
            return marked
        if b"\0" in head:
            wide = wide_encoding(head)
            if wide is not None:
                return wide
        if is_binary(head):
            raise InputError("a binary file", "text", "leave it out, or convert it to text")
        lines = _lines_beyond_ascii(stream, head)
        if not lines:
            return Encoding("utf-8", 0, "valid")
        try:
            return guess_encoding(lines)
        except InputError:
            wide = wide_encoding(head)
            if wide is None:
                raise
            return wide


def _lines_beyond_ascii(stream: BinaryIO, head: bytes) -> list[bytes]:
    """The first lines that are not all ASCII, enough of them to tell the encoding by."""
    found: list[bytes] = []
    size, scanned, rest = 0, 0, head
    while rest and size < SAMPLE_BYTES and scanned < SCANNED_BYTES:
        scanned += len(rest)
        if not rest.isascii():
            rest += stream.readline(SAMPLE_BYTES)
            for line in rest.split(b"\n"):
                if not line.isascii() and size < SAMPLE_BYTES:
                    found.append(_cut(line))
                    size += len(found[-1])
        rest = stream.read(1 << 20)
    return found


def _cut(line: bytes) -> bytes:
    """The first bytes of a long line, cut behind an ASCII byte where there is one near."""
    if len(line) <= SAMPLE_BYTES:
        return line
    end = SAMPLE_BYTES
    while end > SAMPLE_BYTES - 4096 and not (line[end - 1] < 0x30):
        end -= 1
    return line[:end]


def text_lines(file: SourceFile, encoding: Encoding) -> Iterator[Line | Quarantined]:
    """Every line of a file that is not blank; a wrong one is quarantined by itself."""
    newline = encoding.newline
    for block in _blocks(file, encoding):
        if not block.whole:
            yield _too_long(file, block, encoding)
            continue
        number, start = block.number - 1, block.start
        for raw in _split(block.data, newline):
            number += 1
            if raw:
                line = _decoded(file, encoding, number, start, raw)
                if isinstance(line, Quarantined) or not _is_blank(line.text):
                    yield line
            start += len(raw) + len(newline)


def text_blocks(file: SourceFile, encoding: Encoding) -> Iterator[Line | Quarantined]:
    """The file as blocks of whole lines, each as one Line with its line feeds inside.

    A line that is no text is quarantined and parts the blocks around it.
    """
    for block in _blocks(file, encoding):
        if not block.whole:
            yield _too_long(file, block, encoding)
            continue
        found = _decoded(file, encoding, block.number, block.start, block.data)
        if isinstance(found, Line):
            yield found
            continue
        yield from _good_runs(file, encoding, block)


def _good_runs(file: SourceFile, encoding: Encoding, block: _Block) -> Iterator[Line | Quarantined]:
    """The runs of good lines of a block, and the wrong lines between them."""
    newline = encoding.newline
    number, start = block.number, block.start
    good: list[str] = []
    first, first_start = number, start
    for raw in _split(block.data, newline):
        line = _decoded(file, encoding, number, start, raw)
        number, start = number + 1, start + len(raw) + len(newline)
        if isinstance(line, Line):
            good.append(line.text)
            continue
        if good:
            yield Line(first, first_start, start - len(raw) - len(newline), "\n".join(good))
        yield line
        good, first, first_start = [], number, start
    if good:
        tail = "\n" if block.data.endswith(newline) else ""
        yield Line(first, first_start, block.start + len(block.data), "\n".join(good) + tail)


def _decoded(
    file: SourceFile, encoding: Encoding, number: int, start: int, raw: bytes
) -> Line | Quarantined:
    try:
        text = raw.decode(encoding.name)
    except UnicodeError as error:
        place = getattr(error, "start", 0)
        shown = raw[max(0, place - 60) : place + 60].decode(encoding.name, "backslashreplace")
        reason = f"not {encoding.name.upper()}"
        return quarantined(file.name, number, shown, reason)
    if "\0" in text:
        place = text.index("\0")
        return quarantined(file.name, number, text[max(0, place - 60) : place + 60], "a NUL byte")
    return Line(number, start, start + len(raw), text)


def _too_long(file: SourceFile, block: _Block, encoding: Encoding) -> Quarantined:
    shown = block.data[:1024].decode(encoding.name, "backslashreplace")
    reason = f"a line of more than {MAX_LINE_BYTES >> 20} MiB"
    return quarantined(file.name, block.number, shown, reason)


def _blocks(file: SourceFile, encoding: Encoding) -> Iterator[_Block]:
    """Whole lines, about BLOCK_BYTES at a time; of an endless line only the head."""
    newline, unit = encoding.newline, encoding.unit_bytes
    with open_file(file) as stream:
        start = len(stream.read(encoding.mark_bytes))
        number, held = 1, b""
        while True:
            more = stream.read(BLOCK_BYTES)
            held += more
            cut = _last_newline(held, newline, unit) if more else len(held)
            first = _first_newline(held[: MAX_LINE_BYTES + unit], newline, unit)
            if first < 0 and len(held) > MAX_LINE_BYTES:
                head, num_bytes = held[:1024], len(held)
                held, skipped = _skip_line(stream, held, newline, unit)
                yield _Block(number, start, head, whole=False)
                number, start = number + 1, start + num_bytes + skipped - len(held)
            elif cut:
                yield _Block(number, start, held[:cut])
                number += _count(held[:cut], newline, unit)
                start, held = start + cut, held[cut:]
            if not more and not held:
                return


def _skip_line(stream: BinaryIO, held: bytes, newline: bytes, unit: int) -> tuple[bytes, int]:
    """Read on behind the line feed of a line that is not kept: what follows, and bytes read."""
    place, num_bytes = _first_newline(held, newline, unit), 0
    while place < 0:
        held = held[len(held) // unit * unit :] + (more := stream.read(BLOCK_BYTES))
        num_bytes += len(more)
        if not more:
            return b"", num_bytes
        place = _first_newline(held, newline, unit)
    return held[place + unit :], num_bytes


def _split(data: bytes, newline: bytes) -> Iterator[bytes]:
    """The lines of a block; none behind its last line feed."""
    unit, start = len(newline), 0
    if unit == 1:
        lines = data.split(newline)
        yield from lines if lines[-1] else lines[:-1]
        return
    while start < len(data):
        place = _first_newline(data, newline, unit, start)
        end = place if place >= 0 else len(data)
        yield data[start:end]
        start = end + unit


def _first_newline(data: bytes, newline: bytes, unit: int, start: int = 0) -> int:
    place = data.find(newline, start)
    while place >= 0 and place % unit:
        place = data.find(newline, place + 1)
    return place


def _last_newline(data: bytes, newline: bytes, unit: int) -> int:
    """Where the last whole line ends, behind its line feed; 0 if there is none."""
    place = data.rfind(newline)
    while place >= 0 and place % unit:
        place = data.rfind(newline, 0, place + len(newline) - 1)
    return place + unit if place >= 0 else 0


def _count(data: bytes, newline: bytes, unit: int) -> int:
    return data.count(newline) if unit == 1 else sum(1 for _ in _split(data, newline))


def _is_blank(text: str) -> bool:
    return not text or text.isspace()
