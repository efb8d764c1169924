"""Recall and precision of de-identification, strict about what is left of a value.

In: texts with the ranges of inserted identities, and the ranges that a detector would replace.
Out: counts by kind. A value counts as found only if at most a tenth of its letters and digits (a
fifth of a name's or an address's) would stay readable, whatever kind the detector takes it for. A
find is right if at least half of it lies in inserted values. This module makes no text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

LOOSE_KINDS = ("PERSON", "ORGANIZATION", "ADDRESS")
MAX_LEFT, MAX_LEFT_LOOSE = 0.1, 0.2


@dataclass(frozen=True)
class Marked:
    """A range [start, end) of a text and its kind."""

    start: int
    end: int
    kind: str


@dataclass
class Score:
    """What was there and found; what was replaced, and how much of that rightly."""

    there: int = 0
    found: int = 0
    replaced: int = 0
    right: int = 0
    missed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def recall(self) -> float:
        """Share of the inserted values that were found."""
        return self.found / self.there if self.there else 1.0

    @property
    def precision(self) -> float:
        """Share of the replaced ranges that were inserted values."""
        return self.right / self.replaced if self.replaced else 1.0


def _covered(positions: Iterable[int], ranges: Sequence[Marked]) -> int:
    return sum(any(one.start <= place < one.end for one in ranges) for place in positions)


def add_to(
    scores: dict[str, Score], text: str, inserted: Sequence[Marked], finds: Sequence[Marked]
) -> None:
    """Count one text."""
    for value in inserted:
        score = scores.setdefault(value.kind, Score())
        readable = [i for i in range(value.start, value.end) if text[i].isalnum()]
        left = len(readable) - _covered(readable, finds)
        limit = MAX_LEFT_LOOSE if value.kind in LOOSE_KINDS else MAX_LEFT
        score.there += 1
        if left <= limit * len(readable):
            score.found += 1
        else:
            score.missed.append(text[max(0, value.start - 25) : value.end + 15])
    for find in finds:
        score = scores.setdefault(find.kind, Score())
        places = [i for i in range(find.start, find.end) if text[i].isalnum()]
        score.replaced += 1
        if 2 * _covered(places, inserted) >= len(places):
            score.right += 1
        else:
            score.wrong.append(text[max(0, find.start - 15) : find.end + 15])
