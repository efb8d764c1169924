"""Find lines that stand in many documents of one source: menus, footers, notices.

In: documents and from which share of a source's documents on a line is boilerplate. Out: those
lines by source, and a text without them. What is counted depends on the documents alone, not on
their order. This module does not know markup.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from noria.corpus.kept import Kept, whole_text
from noria.corpus.sources import source_name

MIN_DOCUMENTS = 5  # fewer may share a line by chance
MAX_LINE_CHARACTERS = 400  # a longer one is a passage, and a matter of near-duplicates
_MAX_WAITING = 1 << 20  # hashes of lines, until they are counted together

Counts = dict[int, int]  # hash of a line -> in how many documents of the source it stands


@dataclass(frozen=True)
class RemovedLine:
    """A line, in how many documents of its source it stood, and how many times it was removed."""

    line: str
    num_documents: int
    num_removed: int


@final
class Boilerplate:
    """The lines to remove by source, and what was removed so far; 16 bytes for each line there is.

    `share` 0 finds nothing.
    """

    def __init__(self, documents: Sequence[Kept], share: float) -> None:
        self._lines = _frequent_lines(documents, share) if share else {}
        self._removed: dict[str, Counter[str]] = defaultdict(Counter)

    def without(self, document: Kept) -> str | None:
        """The document's text without such lines; None if it has none."""
        name = source_name(document.source)
        known: Collection[int] = self._lines.get(name, ())
        if not known:
            return None
        kept = []
        lines = whole_text(document).split("\n")
        for line in lines:
            if _line_hash(line.strip()) in known:
                self._removed[name][line.strip()] += 1
            else:
                kept.append(line)
        return None if len(kept) == len(lines) else "\n".join(kept)

    def removed(self) -> dict[str, list[RemovedLine]]:
        """What went by source, widest first."""
        return {
            name: sorted(
                (
                    RemovedLine(line, self._lines[name][_line_hash(line)], count)
                    for line, count in counts.items()
                ),
                key=lambda one: (-one.num_documents, one.line),
            )
            for name, counts in sorted(self._removed.items())
        }


def _frequent_lines(documents: Sequence[Kept], share: float) -> dict[str, Counts]:
    """By source, the lines that are boilerplate."""
    num_documents: Counter[str] = Counter()
    counters: dict[str, _LineCounter] = defaultdict(_LineCounter)
    for document in documents:
        name = source_name(document.source)
        num_documents[name] += 1
        lines = {line.strip() for line in whole_text(document).split("\n")}
        counters[name].add(
            [_line_hash(one) for one in lines if 0 < len(one) <= MAX_LINE_CHARACTERS]
        )
    return {
        name: counter.at_least(max(MIN_DOCUMENTS, share * num_documents[name]))
        for name, counter in counters.items()
    }


def _line_hash(line: str) -> int:
    digest = hashlib.blake2b(line.encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


@final
class _LineCounter:
    """Counts hashes in sorted arrays: a dictionary of a large corpus's lines would fill memory."""

    def __init__(self) -> None:
        self._hashes: npt.NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._counts: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._waiting = array("Q")

    def add(self, hashes: Sequence[int]) -> None:
        self._waiting.extend(hashes)
        if len(self._waiting) > max(_MAX_WAITING, len(self._hashes)):
            self._count()

    def _count(self) -> None:
        together = np.concatenate([self._hashes, np.array(self._waiting, np.uint64)])
        counts = np.concatenate([self._counts, np.ones(len(self._waiting), np.int64)])
        self._hashes, inverse = np.unique(together, return_inverse=True)
        self._counts = np.bincount(inverse, counts).astype(np.int64)
        self._waiting = array("Q")

    def at_least(self, least: float) -> Counts:
        """The hashes that were counted so often."""
        self._count()
        often = self._counts >= least
        return dict(zip(self._hashes[often].tolist(), self._counts[often].tolist(), strict=True))
