"""Replace what identifies people and accounts by what kind of thing stood there.

In: a text, or the texts of one document. Out: the texts with placeholders such as [EMAIL], and how
many of each kind; the values themselves are returned nowhere. The same value has the same
placeholder in a document: [EMAIL] is the first, [EMAIL_2] another one. This module does not know
what identities look like; `identities` does, and a name finder does for names.

The result is a fixed point: texts are gone over until nothing more is found beside what was put
there. So doing it again changes nothing, whatever a finder makes of a text with placeholders.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from noria.corpus.identities import Span, find_identities
from noria.corpus.names import NameFinder

PLACEHOLDER = re.compile(r"\[(?P<kind>[A-Z]{2,20}(?:_[A-Z]{2,20})?)(?:_(?P<number>[0-9]{1,9}))?\]")


@dataclass(frozen=True)
class Deidentifier:
    """What finds identities, and what stands in their place; without `names`, names stay."""

    names: NameFinder | None = None

    def replace(self, text: str) -> tuple[str, dict[str, int]]:
        """The text without identities, and how many of each kind were replaced."""
        (replaced,), counts = self.replace_together([text])
        return replaced, counts

    def replace_together(self, texts: Sequence[str]) -> tuple[list[str], dict[str, int]]:
        """The texts of one document, likewise: the same value has the same placeholder in all.

        What becomes of a text does not depend on those after it.
        """
        memory = _Memory()
        counts: Counter[str] = Counter()
        replaced = []
        for text in texts:
            memory.notice(text)
            spans = self.find(text)
            while spans:
                counts.update(span.kind for span in spans)
                text = _with_replacements(text, spans, memory)
                spans = self.find(text)
            replaced.append(text)
        return replaced, dict(counts)

    def find(self, text: str) -> list[Span]:
        """Where identities stand, in order; placeholders are none."""
        placed = [Span(*match.span(), match["kind"]) for match in PLACEHOLDER.finditer(text)]
        found = find_identities(text, placed)
        if self.names is not None:
            around = sorted(placed + found)
            found += [
                piece for one in self.names.find(text) for piece in _outside(text, one, around)
            ]
        return sorted(found)


def _outside(text: str, span: Span, around: Sequence[Span]) -> Iterator[Span]:
    """What is left of a span beside others: pieces with a letter or digit in them."""
    start = span.start
    for one in [*around, Span(span.end, span.end, "")]:
        if one.end < start or one.start > span.end:
            continue
        piece = text[start : max(start, one.start)]
        kept = piece.strip(" \n\t,.;:()\"'，。；：、（）“”")
        if any(character.isalnum() for character in kept):
            begin = start + piece.index(kept)
            yield Span(begin, begin + len(kept), span.kind)
        start = max(start, one.end)


class _Memory:
    """Which value has which placeholder in one document."""

    def __init__(self) -> None:
        self._given: dict[tuple[str, str], str] = {}
        self._last: Counter[str] = Counter()

    def notice(self, text: str) -> None:
        """Leave the numbers alone that a text came with."""
        for match in PLACEHOLDER.finditer(text):
            number = int(match["number"] or 1)
            self._last[match["kind"]] = max(self._last[match["kind"]], number)

    def placeholder(self, kind: str, value: str) -> str:
        """The value's placeholder: spaces, signs and capitals make no other value of it."""
        key = kind, "".join(filter(str.isalnum, value.casefold())) or value
        if key not in self._given:
            self._last[kind] += 1
            number = self._last[kind]
            self._given[key] = f"[{kind}]" if number == 1 else f"[{kind}_{number}]"
        return self._given[key]


def _with_replacements(text: str, spans: Sequence[Span], memory: _Memory) -> str:
    pieces: list[str] = []
    position = 0
    for span in spans:
        value = text[span.start : span.end]
        pieces += text[position : span.start], memory.placeholder(span.kind, value)
        position = span.end
    return "".join(pieces) + text[position:]


def replace_identities(text: str) -> tuple[str, dict[str, int]]:
    """The text without identities that have a form, and how many of each kind were replaced."""
    return Deidentifier().replace(text)
