"""Drop records that are there already, word for word or nearly.

In: records. Out: the records kept and, for each one dropped, what it duplicates. Which copy stays
depends on the sources' names and positions alone, never on the order of reading.

Near-duplicates: 5-word shingles (Chinese: characters), MinHash signatures (Broder 1997) in bands
(Leskovec et al., Mining of Massive Datasets, 3.4); every pair that a band proposes is then
compared exactly, so a record is dropped only at a Jaccard similarity of 0.8 or more.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from noria.corpus.shingles import Hashes, WordHasher, mix, ngrams
from noria.records import Record, Source, record_texts

SHINGLE_WORDS = 5
MIN_JACCARD = 0.8
NUM_BANDS = 25  # 25 bands of 5 rows find a pair of similarity 0.8 with probability 0.99995,
ROWS_PER_BAND = 5  # of 0.5 with 0.55: few exact comparisons are wasted

RecordT = TypeVar("RecordT", bound=Record)


@dataclass(frozen=True)
class Drop:
    """A record that was dropped, the one it duplicates, and how similar (1.0: the same words)."""

    source: Source
    duplicate_of: Source
    similarity: float


@dataclass(frozen=True)
class Deduplicated(Generic[RecordT]):
    """What stays, in the order of the sources, and what went."""

    kept: list[RecordT]
    exact: list[Drop]
    near: list[Drop]


def source_order(record: Record) -> tuple[str, int, int]:
    """The order that decides which copy stays: the file's name, then the position in it."""
    return record.source.file, record.source.byte_start, record.source.line


def whole_text(record: Record) -> str:
    """All texts of a record as one."""
    return "\n".join(record_texts(record))


def drop_duplicates(
    records: Iterable[RecordT],
    near_duplicates: bool,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Deduplicated[RecordT]:
    """Keep the first of every group of equal records and, if asked, of near-equal ones.

    Equal: the same text but for spaces and capital letters. `progress` gets (done, total) records.
    """
    in_order = sorted(records, key=source_order)
    first: dict[bytes, Source] = {}
    distinct: list[RecordT] = []
    exact: list[Drop] = []
    for record in in_order:
        normal = " ".join(whole_text(record).casefold().split())
        digest = hashlib.sha256(normal.encode("utf-8")).digest()
        if digest in first:
            exact.append(Drop(record.source, first[digest], 1.0))
        else:
            first[digest] = record.source
            distinct.append(record)
    if not near_duplicates:
        return Deduplicated(distinct, exact, [])
    kept, near = _drop_near(distinct, progress)
    return Deduplicated(kept, exact, near)


def _drop_near(
    records: list[RecordT], progress: Callable[[int, int], None]
) -> tuple[list[RecordT], list[Drop]]:
    hasher, factors, offsets = WordHasher(), *_permutations()
    buckets: dict[tuple[int, int], list[int]] = defaultdict(list)  # band, its hash -> kept records
    sets: dict[int, Hashes] = {}
    drops: list[Drop] = []
    for index, record in enumerate(records):
        shingles = _shingles(hasher.words(whole_text(record)))
        keys = list(enumerate(_band_hashes(shingles, factors, offsets)))
        proposed = sorted({other for key in keys for other in buckets.get(key, ())})
        for other in proposed:
            similarity = _jaccard(shingles, sets[other])
            if similarity >= MIN_JACCARD:
                drops.append(Drop(record.source, records[other].source, similarity))
                break
        else:
            sets[index] = shingles
            for key in keys:
                buckets[key].append(index)
        progress(index + 1, len(records))
    return [records[index] for index in sets], drops


def _shingles(words: Hashes) -> Hashes:
    """Sorted distinct shingles; a text of fewer than five words is one shingle."""
    return np.unique(ngrams(words, min(SHINGLE_WORDS, max(1, len(words)))))


def _permutations() -> tuple[Hashes, Hashes]:
    """Odd factors and offsets (rows, 1) of multiply-shift hashing (Dietzfelbinger et al. 1997)."""
    numbers = mix(np.arange(1, 2 * NUM_BANDS * ROWS_PER_BAND + 1, dtype=np.uint64))
    factors, offsets = numbers.reshape(2, -1, 1)
    return factors | np.uint64(1), offsets


def _band_hashes(shingles: Hashes, factors: Hashes, offsets: Hashes) -> list[int]:
    """One hash for each band of the MinHash signature; none for a text without words."""
    if not len(shingles):
        return []
    signature: npt.NDArray[np.uint64] = ((shingles * factors + offsets) >> np.uint64(32)).min(1)
    rows = signature.reshape(NUM_BANDS, ROWS_PER_BAND)
    total = rows[:, 0].copy()
    for row in range(1, ROWS_PER_BAND):
        total = mix(total) + rows[:, row]
    return [int(value) for value in total]


def _jaccard(a: Hashes, b: Hashes) -> float:
    num_shared = len(np.intersect1d(a, b, assume_unique=True))
    return num_shared / (len(a) + len(b) - num_shared)
