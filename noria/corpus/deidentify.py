"""Replace what identifies people and accounts by its kind, or by a stand-in that is nobody's.

In: a text, or the texts of one document. Out: the texts with placeholders such as [EMAIL], and how
many of each kind; the values themselves are returned nowhere. The same value has the same
placeholder in a document: [EMAIL] is the first, [EMAIL_2] another one; or, under a key, the same
stand-in everywhere (`surrogates`). This module does not know what identities look like;
`identities` does, and a name finder does for names.

The result is a fixed point: texts are gone over until nothing more is found beside what was put
there. So doing it again changes nothing, whatever a finder makes of a text with placeholders.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from noria.corpus.identities import KINDS, Span, find_identities, masked
from noria.corpus.names import NameFinder, is_installed, shared_name_finder
from noria.corpus.surrogates import SURROGATE, load_key, same_value, surrogate
from noria.errors import UsageError
from noria.text_settings import CorpusSettings

MAX_STAND_IN_TURNS = 3
MAX_ATTEMPTS = 50  # until a stand-in is found that no other value of the document has
NAME_KINDS = ("PERSON", "ORGANIZATION", "ADDRESS")
PLACEHOLDER = re.compile(
    rf"\[(?P<kind>{'|'.join((*KINDS, *NAME_KINDS))})(?:_(?P<number>[0-9]{{1,9}}))?\]"
)


@dataclass(frozen=True)
class Deidentifier:
    """What finds identities, and what stands in their place; without `names`, names stay."""

    names: NameFinder | None = None
    key: bytes | None = field(default=None, repr=False)  # of stand-ins; without it, placeholders

    def replace(self, text: str) -> tuple[str, dict[str, int]]:
        """The text without identities, and how many of each kind were replaced."""
        (replaced,), counts = self.replace_together([text])
        return replaced, counts

    def replace_together(self, texts: Sequence[str]) -> tuple[list[str], dict[str, int]]:
        """The texts of one document, likewise: the same value has the same placeholder in all.

        What becomes of a text does not depend on those after it.
        """
        memory = _Memory(self.key)
        counts: Counter[str] = Counter()
        replaced = []
        for text in texts:
            memory.notice(text)
            turn, spans = 0, self.find(text)
            while spans:
                counts.update(span.kind for span in spans)
                # A stand-in that its neighbours make another one of is told by no form: the
                # placeholder is, so this ends.
                text = _with_replacements(text, spans, memory, by_kind=turn >= MAX_STAND_IN_TURNS)
                turn, spans = turn + 1, self.find(text)
            replaced.append(text)
        return replaced, dict(counts)

    def find(self, text: str) -> list[Span]:
        """Where identities stand, in order; placeholders are none, and stand-ins neither."""
        placed = [Span(*match.span(), match["kind"]) for match in PLACEHOLDER.finditer(text)]
        if self.key is not None:
            placed += [Span(*match.span(), "") for match in SURROGATE.finditer(text)]
            placed.sort()
        found = find_identities(text, placed)
        if self.names is not None:
            around = sorted(placed + found)
            named = self.names.find(masked(text, around))  # a card's digits are no house number
            found += [piece for one in named for piece in _outside(text, one, around)]
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
    """Which value has which placeholder or stand-in in one document."""

    def __init__(self, key: bytes | None) -> None:
        self._key = key
        self._given: dict[tuple[str, str], str] = {}
        self._last: Counter[str] = Counter()

    def notice(self, text: str) -> None:
        """Leave the numbers alone that a text came with."""
        for match in PLACEHOLDER.finditer(text):
            number = int(match["number"] or 1)
            self._last[match["kind"]] = max(self._last[match["kind"]], number)

    def replacement(self, kind: str, value: str, *, by_kind: bool) -> str:
        """What stands for the value; by_kind: a placeholder, whatever the settings are."""
        same = (kind + " by kind" if by_kind else kind), same_value(value)
        if same not in self._given:
            drawn = None if by_kind else self._stand_in(kind, value)
            self._given[same] = drawn or self._placeholder(kind)
        return self._given[same]

    def _stand_in(self, kind: str, value: str) -> str | None:
        if self._key is None:
            return None
        drawn = (surrogate(self._key, kind, value, attempt) for attempt in range(MAX_ATTEMPTS))
        taken = set(self._given.values())
        return next((one for one in drawn if one not in taken), None)

    def _placeholder(self, kind: str) -> str:
        self._last[kind] += 1
        number = self._last[kind]
        return f"[{kind}]" if number == 1 else f"[{kind}_{number}]"


def _with_replacements(text: str, spans: Sequence[Span], memory: _Memory, *, by_kind: bool) -> str:
    pieces: list[str] = []
    position = 0
    for span in spans:
        value = text[span.start : span.end]
        pieces += text[position : span.start], memory.replacement(span.kind, value, by_kind=by_kind)
        position = span.end
    return "".join(pieces) + text[position:]


def replace_identities(text: str) -> tuple[str, dict[str, int]]:
    """The text without identities that have a form, and how many of each kind were replaced."""
    return Deidentifier().replace(text)


def deidentifier_of(settings: CorpusSettings, *, personal: bool) -> Deidentifier:
    """What a recipe says is done to a source; personal: what people wrote to this very system.

    Raises UsageError if names have to go and the extra that finds them is not installed.
    """
    require_names(settings, personal=personal)
    names = shared_name_finder() if _replaces_names(settings, personal) else None
    # A key is made when it is first asked for: not where nothing is replaced.
    replaces = personal or settings.identities == "replace"
    keyed = replaces and settings.replacement == "surrogate"
    return Deidentifier(names, replacement_key() if keyed else None)


def replacement_key() -> bytes:
    """The key of this user's stand-ins; it lies beside no data."""
    return load_key(Path.home() / ".config" / "noria" / "replacement.key")


def require_names(settings: CorpusSettings, *, personal: bool) -> None:
    """Raise UsageError if names have to go from such a source and nothing here can find them."""
    if _replaces_names(settings, personal) and not is_installed():
        source = "feedback is personal text: names" if personal else "names"
        raise UsageError(
            f'{source} are replaced in it under corpus.names = "{settings.names}", and what finds '
            "them is not installed",
            "the extra 'pii'",
            "run: pip install 'noria[pii]'; or write names = \"off\" under [corpus]: names stay",
        )


def _replaces_names(settings: CorpusSettings, personal: bool) -> bool:
    return settings.names == "replace" or (personal and settings.names == "personal")
