"""The account of what was read: what was understood of which files, and what is in quarantine.

In: what readers say and find, part by part. Out: counts with examples, the same however the parts
were cut. This module knows neither formats nor later steps.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, final

from noria.corpus.read.columns import Wanted
from noria.corpus.read.files import SourceFile
from noria.corpus.read.quarantine import Quarantined

MAX_REASONS = 100  # that are told apart: a file may say something new in every row
MAX_EXAMPLES = 3  # of each reason, in the report
_DIGITS = re.compile(r"\d[\d,.]*")


@dataclass(frozen=True)
class Request:
    """A file, how it is to be read, and whether a program wrote it."""

    file: SourceFile
    wanted: Wanted
    synthetic: bool = False


@dataclass
class Said:
    """What a reader said of a file's records, and how many there were."""

    shape: str
    how: str
    records: int = 0
    lost: int = 0


@final
class Listener:
    """Hears what a reader says of one file and counts what it finds behind each saying."""

    def __init__(self) -> None:
        self.heard: list[Said] = []
        self._unsaid = Said("", "")

    def say(self, shape: str, how: str) -> None:
        """Hear what the records that follow are."""
        self.heard.append(Said(shape, how))

    def count(self, found: object) -> None:
        """Count one that was found."""
        last = self.heard[-1] if self.heard else self._unsaid
        if isinstance(found, Quarantined):
            last.lost += 1
        else:
            last.records += 1


@dataclass
class Intake:
    """Everything that was heard and lost so far."""

    num_read: Counter[str] = field(default_factory=Counter)  # by shape
    num_synthetic: int = 0
    num_quarantined: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    understood: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)

    def hear(self, said: Iterable[Said]) -> None:
        """Add what listeners heard of whole files."""
        for one in said:
            counts = self.understood.setdefault((one.shape, one.how), Counter())
            counts.update(files=1, records=one.records, lost=one.lost)

    def lose(self, one: Quarantined) -> None:
        """Count one in quarantine by its reason."""
        reason = plain_reason(one.reason)
        if reason not in self.reasons and len(self.reasons) >= MAX_REASONS:
            reason = "other reasons"
        self.num_quarantined += 1
        self.reasons[reason] += 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < MAX_EXAMPLES:
            examples.append(asdict(one))

    def report(self) -> dict[str, Any]:
        """Counts by reason with first examples, and what was understood of how many files."""
        return {
            "quarantined": {
                "total": self.num_quarantined,
                "reasons": {
                    reason: {"count": count, "examples": self.examples[reason]}
                    for reason, count in sorted(self.reasons.items(), key=lambda r: (-r[1], r[0]))
                },
            },
            "understood": [
                {"shape": shape, "as": how, **counts}
                for (shape, how), counts in sorted(self.understood.items())
            ],
        }


def plain_reason(reason: str) -> str:
    """A reason without its particulars (numbers, places): like ones are counted together."""
    return _DIGITS.sub("…", reason.split(":")[0])[:120]
