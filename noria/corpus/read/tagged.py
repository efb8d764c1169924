"""Word-segmented, tagged Chinese to documents of plain text.

In: lines of `word/tag  word/tag …`, as corpora of segmented Chinese are published (the People's
Daily corpus of Peking University, Yu et al. 2002); compounds stand in brackets, as in
`[中国/ns 银行/n]nt`.
Out: documents of about 2,000 characters: words joined, tags dropped, a line a paragraph.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from noria.corpus.read.files import SourceFile, text_lines
from noria.corpus.read.text import MAX_CHARACTERS
from noria.errors import InputError
from noria.records import Document, Source, text_content

DOCUMENTS_OF_A_GROUP = 8  # neighbours stay on one side of a split: an article may run on

_WORD = re.compile(r"\[?(?P<word>.*)/[A-Za-z]+(?:\][A-Za-z]*)?")


def read_tagged_text(file: SourceFile) -> Iterator[Document]:
    """Yield the documents of a tagged file, in order; eight neighbours are a group.

    Raises InputError "file:line: …" for a word without a tag; and as every reader does for empty
    or binary files and for what is not UTF-8.
    """
    waiting: list[str] = []
    started = (1, 0)  # line and byte of the first waiting paragraph
    number = 0
    for line, start, end, text in _paragraphs(file):
        if waiting and sum(map(len, waiting)) + len(waiting) + len(text) > MAX_CHARACTERS:
            yield _document(file, waiting, started, start, number)
            number += 1
            waiting = []
        if not waiting:
            started = (line, start)
        waiting.append(text)
        last_end = end
    if waiting:
        yield _document(file, waiting, started, last_end, number)


def _document(
    file: SourceFile, paragraphs: list[str], started: tuple[int, int], end: int, number: int
) -> Document:
    source = Source(file.name, started[0], started[1], end)
    group = f"{file.name}#{number // DOCUMENTS_OF_A_GROUP}"
    return Document(text_content("\n".join(paragraphs)), source, group)


def _paragraphs(file: SourceFile) -> Iterator[tuple[int, int, int, str]]:
    """Line, byte range and plain text of every line that has words."""
    for line, start, end, text in text_lines(file):
        words = (_plain(word, f"{file.name}:{line}") for word in text.split())
        yield line, start, end, "".join(words)


def _plain(word: str, where: str) -> str:
    match = _WORD.fullmatch(word)
    if match is None:
        raise InputError(
            f"{where}: {word[:40]!r} has no tag",
            "word/tag word/tag …",
            "name plain text under corpus.documents",
        )
    return match["word"]
