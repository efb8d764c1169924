"""Text, Markdown and source code to documents of about 2,000 characters.

In: a file. Out: documents that are exact slices of it, with line and byte range. Cuts lie between
paragraphs; a paragraph that is too long is cut between sentences, English or Chinese.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from noria.corpus.read.columns import Wanted
from noria.corpus.read.files import SourceFile
from noria.corpus.read.lines import find_encoding, text_blocks
from noria.corpus.read.pieces import document_ranges
from noria.corpus.read.quarantine import Quarantined
from noria.corpus.read.reader import Found, Say
from noria.records import Document, Source, text_content


def read_running_text(file: SourceFile, wanted: Wanted, say: Say, name: str = "text") -> Found:
    """Yield the documents of a text file, in order; their group is the file's name.

    `file_bytes[source.byte_start:source.byte_end].decode()` is a document's text. The file is read
    in blocks: the last document of each waits for the next, so that blocks leave no trace. Raises
    InputError for an empty or binary file, or one in no known encoding.
    """
    encoding = find_encoding(file, wanted.encoding)
    say("document", f"{name}, {encoding.says()}")
    held = _Held("", 0, 0)
    for block in text_blocks(file, encoding):
        if isinstance(block, Quarantined):
            yield from _documents(file, held, encoding.name, list(document_ranges(held.text)))
            held = _Held("", 0, 0)
            yield block
            continue
        if not held.text or held.end != block.start:  # a wrong line stood between
            yield from _documents(file, held, encoding.name, list(document_ranges(held.text)))
            held = _Held("", block.number, block.start)
        held = _Held(held.text + block.text, held.line, held.start, block.end)
        ranges = list(document_ranges(held.text))  # more text may lengthen the last one
        yield from _documents(file, held, encoding.name, ranges[:-1])
        held = _behind(held, ranges[-1][0] if ranges else 0, encoding.name)
    yield from _documents(file, held, encoding.name, list(document_ranges(held.text)))


@dataclass(frozen=True)
class _Held:
    """Text that is not in documents yet, and where it starts and ends."""

    text: str
    line: int
    start: int
    end: int = 0


def _documents(
    file: SourceFile, held: _Held, encoding: str, ranges: list[tuple[int, int]]
) -> Iterator[Document]:
    """The documents that lie at these ranges of a held text."""
    position, line, offset_bytes = 0, held.line, held.start
    for first, last in ranges:
        offset_bytes += len(held.text[position:first].encode(encoding))
        line += held.text.count("\n", position, first)
        piece = held.text[first:last]
        end_bytes = offset_bytes + len(piece.encode(encoding))
        source = Source(file.name, line, offset_bytes, end_bytes)
        yield Document(text_content(piece), source, group=file.name)
        position, offset_bytes = last, end_bytes
        line += piece.count("\n")


def _behind(held: _Held, position: int, encoding: str) -> _Held:
    before = held.text[:position]
    start = held.start + len(before.encode(encoding))
    return _Held(held.text[position:], held.line + before.count("\n"), start, held.end)
