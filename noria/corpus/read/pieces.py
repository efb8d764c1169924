"""Where a text is cut into documents of about 2,000 characters.

In: a text. Out: character ranges. Cuts lie between paragraphs; a paragraph that is too long is cut
between sentences, English or Chinese. This module opens no files.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

MAX_CHARACTERS = 2000  # of a document: a few hundred tokens, the context of a small model

_NEWLINE = r"(?:\r\n|\r|\n)"
_BLANK_LINES = re.compile(rf"{_NEWLINE}(?:[ \t\u3000]*{_NEWLINE})+")
_SENTENCE_END = re.compile(
    r"[.!?][\"'”’)\]]*(?=\s+[^\sa-z])"  # English: what follows is no small letter
    r"|[。！？…]+[\"”’」』）]*"
)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"“‘'.])(?:[A-Z]|Mr|Mrs|Ms|Dr|St|No|Nos|Art|Sec|Vol|Gen|Col|Capt|Lt|Sgt|Hon|Rev"
    r"|Sen|Rep|Gov|Prof|Jr|Sr|vs|e\.g|i\.e|cf|etc)\.$"
)
_LONGEST_ABBREVIATION = 8

_Range = tuple[int, int]


def document_ranges(text: str) -> Iterator[_Range]:
    """Character ranges of the documents that a text is cut into."""
    return _join(_units(text))


def _units(text: str) -> Iterator[_Range]:
    """Paragraphs, the long ones in pieces; none longer than MAX_CHARACTERS, none blank."""
    position = 0
    for blank in _BLANK_LINES.finditer(text):
        yield from _pieces(text, position, blank.start())
        position = blank.end()
    yield from _pieces(text, position, len(text))


def _pieces(text: str, start: int, end: int) -> Iterator[_Range]:
    start, end = _trim(text, start, end)
    while end - start > MAX_CHARACTERS:
        cut = _cut(text, start, start + MAX_CHARACTERS)
        yield _trim(text, start, cut)
        start, end = _trim(text, cut, end)
    if start < end:
        yield start, end


def _cut(text: str, start: int, limit: int) -> int:
    """The last good place to cut in (start, limit]: sentence end, else space, else anywhere."""
    for match in reversed(list(_SENTENCE_END.finditer(text, start, limit))):
        before = text[max(start, match.end() - _LONGEST_ABBREVIATION) : match.end()]
        if not _ABBREVIATION.search(before):
            return match.end()
    for position in range(limit, start + 1, -1):
        if text[position - 1].isspace():
            return position
    while limit > start + 1 and unicodedata.combining(text[limit]):
        limit -= 1  # an accent stays with its letter
    return limit


def _trim(text: str, start: int, end: int) -> _Range:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


def _join(units: Iterator[_Range]) -> Iterator[_Range]:
    """Join neighbours as long as they fit into MAX_CHARACTERS together."""
    current: _Range | None = None
    for start, end in units:
        if current is not None and end - current[0] <= MAX_CHARACTERS:
            current = current[0], end
        else:
            if current is not None:
                yield current
            current = start, end
    if current is not None:
        yield current
