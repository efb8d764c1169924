"""One change of text applied to a record of any shape, its tags kept where they stand.

In: a record and a function from text to text. Out: the record with every text changed. This module
does not know what the change is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

from noria.records import (
    Content,
    Conversation,
    Document,
    Labelled,
    Pair,
    Preference,
    Record,
    Span,
    Tagged,
    content_text,
    record_texts,
    text_content,
)

Change = Callable[[str], str]


def record_text(record: Record) -> str:
    """All texts of a record as one."""
    return "\n".join(record_texts(record))


def map_texts(record: Record, change: Change) -> Record:
    """The record with `change` applied to each of its texts, and to labels as they are.

    A tagged text is changed piece by piece, between tags and inside them, so that its spans stay
    exact; spaces at the edge of a piece are kept. A span of which nothing is left goes.
    """

    def changed(content: Content) -> Content:
        return text_content(change(content_text(content)))

    match record:
        case Document() | Labelled():
            return replace(record, content=changed(record.content))
        case Conversation():
            messages = (replace(one, content=changed(one.content)) for one in record.messages)
            return replace(record, messages=tuple(messages))
        case Pair():
            return replace(record, input=changed(record.input), target=changed(record.target))
        case Preference():
            prompt, chosen, rejected = map(changed, (record.prompt, record.chosen, record.rejected))
            return replace(record, prompt=prompt, chosen=chosen, rejected=rejected)
        case Tagged():
            return _map_tagged(record, change)


def _map_tagged(record: Tagged, change: Change) -> Tagged:
    text = content_text(record.content)
    cuts = sorted({0, len(text), *(place for s in record.spans for place in (s.start, s.end))})
    moved, pieces, length = {0: 0}, [], 0
    for start, end in pairwise(cuts):
        piece = _inner(text[start:end], change)
        pieces.append(piece)
        length += len(piece)
        moved[end] = length
    spans = (Span(moved[s.start], moved[s.end], s.tag) for s in record.spans)
    kept = tuple(span for span in spans if span.start < span.end)
    return replace(record, content=text_content("".join(pieces)), spans=kept)


def _inner(piece: str, change: Change) -> str:
    """The piece changed between the spaces at its edges."""
    inner = piece.strip()
    if not inner:
        return piece
    place = piece.index(inner)
    return piece[:place] + change(inner) + piece[place + len(inner) :]
