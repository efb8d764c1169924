"""How long records are: a distribution, small enough to print.

In: lengths, one by one. Out: quantiles and the counts of a few bins whose edges are 1, 2, 5 times a
power of ten, so that two corpora have the same edges. This module does not know what is measured.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np

QUANTILES = (5, 25, 50, 75, 95, 99)  # in percent


@dataclass(frozen=True)
class Bin:
    """How many lengths lie in [low, high)."""

    low: int
    high: int
    count: int


@dataclass(frozen=True)
class Lengths:
    """A distribution of lengths; `quantiles` are (percent, length) and include no extremes."""

    what: str
    unit: str
    count: int
    total: int
    smallest: int
    largest: int
    quantiles: tuple[tuple[int, int], ...]
    bins: tuple[Bin, ...]

    @property
    def median(self) -> int:
        """The length that half of the records reach."""
        return dict(self.quantiles)[50]


def distribution(what: str, unit: str, lengths: array[int]) -> Lengths | None:
    """The distribution of some lengths (8 bytes each are held); None of none.

    A quantile is one of the lengths: the smallest that the share of them does not exceed.
    """
    if not lengths:
        return None
    values = np.frombuffer(lengths, np.uint64)
    found = np.quantile(values, [q / 100 for q in QUANTILES], method="inverted_cdf")
    edges = _edges(int(values.min()), int(values.max()))
    counts = np.histogram(values, np.array([*edges[:-1], np.inf]))[0]
    return Lengths(
        what=what,
        unit=unit,
        count=len(values),
        total=int(values.sum()),
        smallest=int(values.min()),
        largest=int(values.max()),
        quantiles=tuple(zip(QUANTILES, map(int, found), strict=True)),
        bins=tuple(
            Bin(low, high, int(count))
            for low, high, count in zip(edges, edges[1:], counts, strict=False)
        ),
    )


def _edges(smallest: int, largest: int) -> list[int]:
    """1, 2, 5 times powers of ten around the values, at least two; 0 stands before 1."""
    every = [0] + [step * 10**power for power in range(19) for step in (1, 2, 5)]
    first = max(index for index, edge in enumerate(every) if edge <= smallest)
    last = min(index for index, edge in enumerate(every) if edge > largest)
    return every[first : last + 1]
