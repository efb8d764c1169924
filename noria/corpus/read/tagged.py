"""Word-segmented, tagged Chinese to documents of plain text.

In: lines of `word/tag  word/tag …`, as corpora of segmented Chinese are published (the People's
Daily corpus of Peking University, Yu et al. 2002); compounds stand in brackets, as in
`[中国/ns 银行/n]nt`.
Out: documents of about 2,000 characters: words joined, tags dropped, a line a paragraph. Or, where
tagged texts are asked for, a record a line with a span for each word and each compound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from noria.corpus.read.columns import Wanted
from noria.corpus.read.files import SourceFile
from noria.corpus.read.lines import Line, find_encoding, text_lines
from noria.corpus.read.pieces import MAX_CHARACTERS
from noria.corpus.read.quarantine import Quarantined, WrongRow, quarantined
from noria.corpus.read.reader import Found, Say
from noria.records import Document, Source, Span, Tagged, text_content

DOCUMENTS_OF_A_GROUP = 8  # neighbours stay on one side of a split: an article may run on

NAME = "nr"  # of a person: family name and given name are two words there, and one span here

_NO_TAG = "a word without a tag, expected word/tag word/tag …"
_WORD = re.compile(r"(?P<opens>\[?)(?P<word>.*)/(?P<tag>[A-Za-z]+)(?:\](?P<closes>[A-Za-z]*))?")


def read_tagged_text(file: SourceFile, wanted: Wanted, say: Say) -> Found:
    """Yield the documents of a tagged file, in order; eight neighbours are a group.

    Where the shape `tagged` is wanted, its lines with their tags. A line with a word that has no
    tag is quarantined. Raises InputError as every reader does for empty or binary files and unknown
    encodings.
    """
    encoding = find_encoding(file, wanted.encoding)
    if wanted.shape == "tagged":
        say("tagged", f"words with tags, {encoding.says()}")
        yield from _tagged_lines(file, text_lines(file, encoding))
        return
    say("document", f"words with tags, {encoding.says()}")
    waiting: list[str] = []
    started = (1, 0)  # line and byte of the first waiting paragraph
    number = last_end = 0
    for line in text_lines(file, encoding):
        if isinstance(line, Quarantined):
            yield line
            continue
        try:
            text = "".join(_plain(word) for word in line.text.split())
        except WrongRow as error:
            yield quarantined(file.name, line.number, error.value, error.reason)
            continue
        if waiting and sum(map(len, waiting)) + len(waiting) + len(text) > MAX_CHARACTERS:
            yield _document(file, waiting, started, line.start, number)
            number += 1
            waiting = []
        if not waiting:
            started = (line.number, line.start)
        waiting.append(text)
        last_end = line.end
    if waiting:
        yield _document(file, waiting, started, last_end, number)


def _tagged_lines(file: SourceFile, lines: Iterator[Line | Quarantined]) -> Found:
    """A record for each line; eight neighbours are a group."""
    for line in lines:
        if isinstance(line, Quarantined):
            yield line
            continue
        try:
            text, spans = _with_spans(line.text)
        except WrongRow as error:
            yield quarantined(file.name, line.number, error.value, error.reason)
            continue
        source = Source(file.name, line.number, line.start, line.end)
        group = f"{file.name}#{line.number // DOCUMENTS_OF_A_GROUP}"
        yield Tagged(text_content(text), spans, source, group)


def _with_spans(line: str) -> tuple[str, tuple[Span, ...]]:
    """The text of a line, and a span for each word and each compound that is closed."""
    text = ""
    spans: list[Span] = []
    opened: list[int] = []
    for word in line.split():
        match = _WORD.fullmatch(word)
        if match is None:
            raise WrongRow(_NO_TAG, word)
        if match["opens"]:
            opened.append(len(text))
        start = len(text)
        if match["tag"] == NAME and spans and spans[-1].tag == NAME and spans[-1].end == start:
            start = spans.pop().start
        spans.append(Span(start, len(text) + len(match["word"]), match["tag"]))
        text += match["word"]
        if match["closes"] is not None and opened:
            spans.append(Span(opened.pop(), len(text), match["closes"]))
    return text, tuple(one for one in spans if one.tag and one.start < one.end)


def _document(
    file: SourceFile, paragraphs: list[str], started: tuple[int, int], end: int, number: int
) -> Document:
    source = Source(file.name, started[0], started[1], end)
    group = f"{file.name}#{number // DOCUMENTS_OF_A_GROUP}"
    return Document(text_content("\n".join(paragraphs)), source, group)


def _plain(word: str) -> str:
    match = _WORD.fullmatch(word)
    if match is None:
        raise WrongRow(_NO_TAG, word)
    return match["word"]
