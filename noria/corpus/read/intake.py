"""All files of a corpus to records by shape, with an account of what was understood and lost.

In: files, each with what the recipe says of it. Out: records, counts, and a file of everything in
quarantine. This module knows neither formats nor later steps.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from noria.corpus.read.columns import Wanted
from noria.corpus.read.files import SourceFile
from noria.corpus.read.formats import read_file
from noria.corpus.read.quarantine import Quarantined
from noria.records import SHAPES, Record, shape_of

MAX_REASONS = 100  # that are told apart: a file may say something new in every row
MAX_EXAMPLES = 3  # of each reason, in the report
_DIGITS = re.compile(r"\d[\d,.]*")


@dataclass(frozen=True)
class Request:
    """A file and how it is to be read."""

    file: SourceFile
    wanted: Wanted


@dataclass
class Intake:
    """What was read: records by shape, and the account of it."""

    records: dict[str, list[Record]] = field(default_factory=lambda: {name: [] for name in SHAPES})
    num_quarantined: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    understood: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)

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


def read_requests(
    requests: Sequence[Request],
    quarantine: Path,
    hide: Callable[[str], str],
    progress: Callable[[str, int, int], None],
) -> Intake:
    """Read every file; write what is in quarantine as JSON lines, its values through `hide` first.

    Raises InputError for a file that changed, MissingExtra where an optional library is needed.
    """
    intake = Intake()
    with quarantine.open("w", encoding="utf-8") as out:
        for done, request in enumerate(requests, start=1):
            for found in _read(request, intake):
                if isinstance(found, Quarantined):
                    hidden = replace(found, value=hide(found.value), reason=hide(found.reason))
                    _count(intake, hidden)
                    out.write(json.dumps(asdict(hidden), ensure_ascii=False) + "\n")
                else:
                    intake.records[shape_of(found)].append(found)
            progress("read", done, len(requests))
    return intake


def _read(request: Request, intake: Intake) -> Iterator[Record | Quarantined]:
    """The file's records; what its reader said is counted with its records and its losses."""
    counts: Counter[str] = Counter()

    def say(shape: str, how: str) -> None:
        nonlocal counts
        counts = intake.understood.setdefault((shape, how), Counter(files=0, records=0, lost=0))
        counts["files"] += 1

    for found in read_file(request.file, request.wanted, say):
        counts["lost" if isinstance(found, Quarantined) else "records"] += 1
        yield found


def _count(intake: Intake, one: Quarantined) -> None:
    reason = plain_reason(one.reason)
    if reason not in intake.reasons and len(intake.reasons) >= MAX_REASONS:
        reason = "other reasons"
    intake.num_quarantined += 1
    intake.reasons[reason] += 1
    examples = intake.examples.setdefault(reason, [])
    if len(examples) < MAX_EXAMPLES:
        examples.append(asdict(one))


def plain_reason(reason: str) -> str:
    """A reason without its particulars (numbers, places): like ones are counted together."""
    return _DIGITS.sub("…", reason.split(":")[0])[:120]
