"""How much each source counts in training: by weight, by temperature, or as much as it is.

In: training records. Out: the records, some several times and some not at all, and what became of
each source. Which ones is decided by a hash of each record's text, so it does not depend on order.

A source of n characters gets a share proportional to weight * n^(1 / temperature), as languages do
in mT5 (Xue et al. 2021, section 3.2, whose alpha is 1 / temperature); the sum of all stays what it
was. No record is written more than 4 times: beyond that repeated text teaches less and less
(Muennighoff et al. 2023).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from noria.corpus.kept import Kept, num_characters, whole_text
from noria.corpus.sources import source_name
from noria.errors import UsageError

MAX_COPIES = 4.0

RecordT = TypeVar("RecordT", bound=Kept)


@dataclass(frozen=True)
class Balanced:
    """A source's characters before and after, and how often each record is written on average."""

    source: str
    characters_before: int
    characters: int
    copies: float


def balance_sources(
    records: Sequence[RecordT], weights: Mapping[str, float], temperature: float, seed: int
) -> tuple[list[RecordT], list[Balanced]]:
    """The records as often as their source's share says, in their order, and each source's facts.

    A source without a weight has 1. Raises UsageError for a weight of a source that is not there.
    """
    sizes: Counter[str] = Counter()
    for record in records:
        sizes[source_name(record.source)] += num_characters(record)
    unknown = sorted(set(weights) - set(sizes))
    if unknown:
        raise UsageError(
            f"corpus.weights names {', '.join(unknown)}",
            f"sources of the training text: {', '.join(sorted(sizes))}",
            "mend the recipe",
        )
    copies = _copies(sizes, weights, temperature)
    after: Counter[str] = Counter()
    kept: list[RecordT] = []
    for record in records:
        name = source_name(record.source)
        times = int(copies[name] + _position(whole_text(record), seed))
        kept += [record] * times
        after[name] += times * num_characters(record)
    facts = [Balanced(s, sizes[s], after[s], round(copies[s], 4)) for s in sorted(sizes)]
    return kept, facts


def _copies(
    sizes: Mapping[str, int], weights: Mapping[str, float], temperature: float
) -> dict[str, float]:
    wanted = {s: weights.get(s, 1.0) * max(1, n) ** (1 / temperature) for s, n in sizes.items()}
    scale = sum(sizes.values()) / (sum(wanted.values()) or 1.0)
    return {s: min(MAX_COPIES, scale * wanted[s] / max(1, n)) for s, n in sizes.items()}


def parse_weights(weights: Sequence[str]) -> dict[str, float]:
    """`name=weight` of the recipe as numbers."""
    return {name: float(value) for name, value in (one.rsplit("=", 1) for one in weights)}


def _position(text: str, seed: int) -> float:
    """A number in [0, 1) that only the text and the seed decide; not the one that splits."""
    digest = hashlib.sha256(f"balance:{seed}:{text}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
