"""What de-identification was measured to find: the numbers that reports print, never made anew.

In: `measured.json`, which `python benchmarks/identities.py --write` writes. Out: rows by set of
texts and kind. This module measures nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

MEASURED_PATH = Path(__file__).with_name("measured.json")


@dataclass(frozen=True)
class MeasuredKind:
    """One kind in one set of texts; shares of one."""

    texts: str
    kind: str
    there: int
    recall: float
    precision: float


@dataclass(frozen=True)
class Measured:
    """All rows, and the day on which they were measured."""

    made_on: str
    kinds: tuple[MeasuredKind, ...]


def read_measured() -> Measured:
    """The stored measurement."""
    stored = json.loads(MEASURED_PATH.read_text(encoding="utf-8"))
    kinds = tuple(
        MeasuredKind(texts, kind, row["there"], row["recall"], row["precision"])
        for texts, rows in stored["noria"].items()
        for kind, row in rows.items()
        if row["there"]
    )
    return Measured(stored["made_on"], kinds)
