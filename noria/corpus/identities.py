"""What identifies people and accounts by its form: the table of detectors, and one pass over it.

In: a text. Out: where identities of which kind stand. Names have no form; `names` finds them.

Patterns use ASCII classes and their own boundaries: a Chinese character is a letter to `\\w` and
`\\b`, but no part of an address that it stands before. Every repetition has an upper bound, so the
time grows with the text's length and no faster.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from noria.corpus.contacts import CONTACTS
from noria.corpus.detector import view_of
from noria.corpus.papers import PAPERS
from noria.corpus.secret_keys import SECRET_KEYS

# E-mails before numbers: digits of an address are no phone. Papers before phones: their check
# digits say more than a phone's grouping.
DETECTORS = (*SECRET_KEYS, CONTACTS[0], *PAPERS, *CONTACTS[1:])
KINDS = tuple(dict.fromkeys(detector.kind for detector in DETECTORS))
_GATES = tuple(dict.fromkeys(detector.gate for detector in DETECTORS))
_GATED = tuple((_GATES.index(detector.gate), detector) for detector in DETECTORS)
MAX_TURNS = 8  # a find may free the boundary of the next match; a second turn is rare

_WIDE = re.compile("[\uff01-\uff5e\u2010-\u2015\u2212\u00a0\u2007\u202f\u3000]")
_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_NARROW |= dict.fromkeys([*range(0x2010, 0x2016), 0x2212], ord("-"))
_NARROW |= dict.fromkeys([0xA0, 0x2007, 0x202F, 0x3000], ord(" "))


@dataclass(frozen=True, order=True)
class Span:
    """Characters [start, end) of a text that are an identity of some kind."""

    start: int
    end: int
    kind: str


def find_identities(text: str, taken: list[Span]) -> list[Span]:
    """Where identities stand outside of `taken`, in order; full-width signs count as plain ones."""
    # Character for character as long as the text, so that positions hold in both.
    plain = text if text.isascii() or not _WIDE.search(text) else text.translate(_NARROW)
    plain = masked(plain, taken)
    view = view_of(plain)  # what is masked later can only close a gate, and that harms nobody
    hits = [gate(view) for gate in _GATES]
    tried = [detector for gate, detector in _GATED if hits[gate]]
    found: list[Span] = []
    for _ in range(MAX_TURNS):
        before = len(found)
        for detector in tried:
            spans = []
            for match in detector.pattern.finditer(plain):
                reach = detector.judge(match)
                if reach is not None:
                    spans.append(Span(*reach, detector.kind))
            plain = masked(plain, spans)
            found += spans
        if len(found) == before:
            break
    return sorted(found)


def masked(text: str, spans: Sequence[Span]) -> str:
    """The text with brackets where the spans are: to every pattern what a placeholder is."""
    pieces: list[str] = []
    position = 0
    for span in spans:
        pieces += text[position : span.start], "[", "]" * (span.end - span.start - 1)
        position = span.end
    return "".join(pieces) + text[position:]
