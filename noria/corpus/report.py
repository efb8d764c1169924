"""What the steps of the corpus counted and dropped, and the report that is made of it.

In: the tally of a run and its splits. Out: the values of `report.json`. This module does not know
how any step decides.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TextIO

from noria.corpus.balance import Balanced
from noria.corpus.boilerplate import RemovedLine
from noria.corpus.decontaminate import Decontaminated, contamination_facts
from noria.corpus.deduplicate import Drop, count_between
from noria.corpus.kept import Kept, language_of, num_bytes, num_characters
from noria.corpus.quality import Excess
from noria.corpus.sources import source_name
from noria.corpus.split import SPLITS
from noria.corpus.table import Entry
from noria.records import Source

REPORT_FORMAT = 1
Progress = Callable[[str, int, int], None]  # step, done, total
NUM_EXAMPLES = 3  # of everything that a step removed


@dataclass
class Tally:
    """What the steps counted, and what they dropped."""

    dropped: TextIO
    changed: int = 0
    too_short: int = 0
    exact: list[Drop] = field(default_factory=list)
    near: list[Drop] = field(default_factory=list)
    identities: Counter[str] = field(default_factory=Counter)
    beyond: list[tuple[Kept, list[Excess]]] = field(default_factory=list)
    boilerplate: dict[str, list[RemovedLine]] = field(default_factory=dict)
    languages: Counter[str] = field(default_factory=Counter)
    decontaminated: Decontaminated[Entry] = field(
        default_factory=lambda: Decontaminated([], [], {})
    )
    balance: list[Balanced] = field(default_factory=list)

    def drop(self, reason: str, source: Source, **more: Any) -> None:
        """Write down a record that is left out, and why, as a line of JSON."""
        drop = {"reason": reason, "source": asdict(source), **more}
        self.dropped.write(json.dumps(drop, ensure_ascii=False, sort_keys=True) + "\n")


def corpus_report(
    num_files: int,
    num_read: dict[str, int],
    tally: Tally,
    splits: Mapping[str, Sequence[Kept]],
) -> dict[str, Any]:
    """Counts of every step, with examples of what it removed, and the sizes of the splits."""
    groups = [{record.group for record in splits[name]} for name in SPLITS]
    return {
        "format": REPORT_FORMAT,
        "files": num_files,
        "read": num_read,
        "cleaned": tally.changed,
        "identities": dict(sorted(tally.identities.items())),
        "boilerplate": {name: _lines_facts(lines) for name, lines in tally.boilerplate.items()},
        "too_short": tally.too_short,
        "exact_duplicates": len(tally.exact),
        "near_duplicates": len(tally.near),
        "duplicates_between": [asdict(one) for one in count_between(tally.exact, tally.near)],
        "contaminated": len(tally.decontaminated.dropped),
        "contamination": contamination_facts(tally.decontaminated),
        "languages": dict(sorted(tally.languages.items())),
        "groups": len(set().union(*groups)),
        "groups_in_several_splits": sum(map(len, groups)) - len(set().union(*groups)),
        "balance": [asdict(one) for one in tally.balance],
        "synthetic": {name: sum(record.synthetic for record in splits[name]) for name in SPLITS},
        "strata": _strata(splits),
        "splits": {name: split_sizes(splits[name]) for name in SPLITS},
    }


def _strata(splits: Mapping[str, Sequence[Kept]]) -> list[dict[str, Any]]:
    """How many records of each source and language each split has."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for name in SPLITS:
        for record in splits[name]:
            language = language_of(record)
            counts[source_name(record.source), language][name] += 1
    return [
        {"source": source, "language": language, **{name: found[name] for name in SPLITS}}
        for (source, language), found in sorted(counts.items())
    ]


def _lines_facts(lines: Sequence[RemovedLine]) -> dict[str, Any]:
    return {
        "lines": len(lines),
        "removed": sum(one.num_removed for one in lines),
        "examples": [asdict(one) for one in lines[:NUM_EXAMPLES]],
    }


def split_sizes(records: Sequence[Kept]) -> dict[str, int]:
    """How much a split is."""
    return {
        "records": len(records),
        "characters": sum(map(num_characters, records)),
        "bytes": sum(map(num_bytes, records)),
    }
