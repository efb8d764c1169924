"""Tokens and their tags to a text with tagged spans.

In: tokens beside tags, in BIO, BIOES, BMES or one plain tag a token. Out: a Tagged record. Tokens
are joined by a space, but not where Chinese or Japanese characters or their punctuation meet.
"""

from __future__ import annotations

import re
from typing import Any

from noria.corpus.read.quarantine import WrongRow
from noria.records import Source, Span, Tagged, text_content

_NO_SPACE = re.compile(
    "[\u2014\u2018-\u201d\u2026\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]"
)
_PREFIXED = re.compile(r"([BIOESMLU])[-_](.+)")
_CONTINUES = ("I", "E", "M", "L")


def tagged_record(tokens: list[Any], tags: list[Any], source: Source, group: str) -> Tagged:
    """The text of tokens and the spans of their tags.

    A tag that continues nothing begins a span, as the CoNLL scorer counts it. Raises WrongRow for
    tokens or tags that are no texts, or not as many of the one as of the other.
    """
    if len(tokens) != len(tags):
        raise WrongRow(f"{len(tokens)} tokens but {len(tags)} tags", tokens)
    if not all(isinstance(one, str) and one for one in tokens):
        raise WrongRow("a token that is no text", tokens)
    if not all(isinstance(one, str) and one for one in tags):
        raise WrongRow("tags must be names such as B-PER", tags)
    text = ""
    places = []
    for token in tokens:
        if text and not (_NO_SPACE.match(text[-1]) or _NO_SPACE.match(token[0])):
            text += " "
        places.append((len(text), len(text) + len(token)))
        text += token
    if not text.strip():
        raise WrongRow("tokens without any text", tokens)
    return Tagged(text_content(text), tuple(_spans(places, tags)), source, group)


def _spans(places: list[tuple[int, int]], tags: list[str]) -> list[Span]:
    spans: list[Span] = []
    continues = ""  # the tag whose span the next token may go on with
    for (start, end), tag in zip(places, tags, strict=True):
        match = _PREFIXED.fullmatch(tag)
        prefix, name = match.groups() if match else ("", tag)
        if name in ("O", "-", "_") or prefix == "O":
            continues = ""
            continue
        if prefix in _CONTINUES and continues == name:
            spans[-1] = Span(spans[-1].start, end, name)
        else:
            spans.append(Span(start, end, name))
        continues = name if prefix in ("B", "I", "M") else ""
    return spans
