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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from noria.corpus.shingles import Hashes, WordHasher, mix, ngrams
from noria.corpus.sources import source_name
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
class Between:
    """How many records of one source repeat one of another (or of the same), and how."""

    source: str
    duplicate_of: str
    exact: int
    near: int


@dataclass(frozen=True)
class Deduplicated(Generic[RecordT]):
    """What stays, in the order in which it came, and what went."""

    kept: list[RecordT]
    exact: list[Drop]
    near: list[Drop]


def source_order(record: Record) -> tuple[str | int, ...]:
    """The file's name, then the position in it; a reader may give several records one position."""
    source = record.source
    return source.file, source.byte_start, source.line, source.byte_end, source.interaction


def whole_text(record: Record) -> str:
    """All texts of a record as one."""
    return "\n".join(record_texts(record))


def drop_duplicates(
    records: Iterable[RecordT],
    near_duplicates: bool,
    progress: Callable[[int, int], None] = lambda done, total: None,
    rank: Callable[[RecordT], int] = lambda record: 0,
) -> Deduplicated[RecordT]:
    """Keep the first of every group of equal records and, if asked, of near-equal ones.

    Equal: the same text but for spaces and capital letters. `progress` gets (done, total) records.
    The first is that of the lowest `rank`, among those the first by source, and of those at one
    position the first by its text. What stays keeps its order.
    """
    records = list(records)
    in_order = sorted(records, key=lambda one: (rank(one), source_order(one), whole_text(one)))
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
    kept, near = _drop_near(distinct, progress) if near_duplicates else (distinct, [])
    stays = set(map(id, kept))
    return Deduplicated([one for one in records if id(one) in stays], exact, near)


def count_between(exact: Iterable[Drop], near: Iterable[Drop]) -> list[Between]:
    """The matrix of what repeats what, source by source, without its zeros."""
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for kind, drops in enumerate((exact, near)):
        for drop in drops:
            counts[source_name(drop.source), source_name(drop.duplicate_of)][kind] += 1
    return [Between(*names, *numbers) for names, numbers in sorted(counts.items())]


def _drop_near(
    records: list[RecordT], progress: Callable[[int, int], None]
) -> tuple[list[RecordT], list[Drop]]:
    """Beside the texts, this holds 300 bytes a record, and the shingles of those that share a band.

    (25 band hashes of 8 bytes, 25 bucket numbers of 4.)
    """
    hasher = WordHasher()
    buckets = shared_buckets(lambda: _all_shingles(hasher, records, progress), len(records))
    members: dict[int, list[int]] = defaultdict(list)  # bucket -> kept records, in order
    sets: dict[int, Hashes] = {}
    kept: list[RecordT] = []
    drops: list[Drop] = []
    for index, record in enumerate(records):
        keys = [int(key) for key in buckets[index] if key >= 0]
        if not keys:
            kept.append(record)
            continue
        shingles = shingles_of(hasher, whole_text(record))
        for other in sorted({other for key in keys for other in members.get(key, ())}):
            similarity = jaccard(shingles, sets[other])
            if similarity >= MIN_JACCARD:
                drops.append(Drop(record.source, records[other].source, similarity))
                break
        else:
            kept.append(record)
            sets[index] = shingles
            for key in keys:
                members[key].append(index)
    return kept, drops


def _all_shingles(
    hasher: WordHasher, records: list[RecordT], progress: Callable[[int, int], None]
) -> Iterator[Hashes]:
    for index, record in enumerate(records):
        yield shingles_of(hasher, whole_text(record))
        progress(index + 1, len(records))


def shared_buckets(
    shingles: Callable[[], Iterable[Hashes]], num_texts: int
) -> npt.NDArray[np.int32]:
    """(texts, bands): the bucket that a text shares with another in a band, -1 where it has none.

    Two texts in one bucket are probably similar; a text without words shares none.
    """
    factors, offsets = _permutations()
    hashes = np.zeros((num_texts, NUM_BANDS), np.uint64)
    has_words = np.zeros(num_texts, bool)
    for index, some in enumerate(shingles()):
        has_words[index] = len(some) > 0
        if len(some):
            hashes[index] = _band_hashes(some, factors, offsets)
    buckets = np.full((num_texts, NUM_BANDS), -1, np.int32)
    first = 0
    for band in range(NUM_BANDS):
        _, inverse, counts = np.unique(hashes[:, band], return_inverse=True, return_counts=True)
        shared = (counts[inverse] > 1) & has_words
        buckets[shared, band] = inverse[shared] + first
        first += len(counts)
    return buckets


def shingles_of(hasher: WordHasher, text: str) -> Hashes:
    """Sorted distinct shingles; a text of fewer than five words is one shingle."""
    words = hasher.words(text)
    return np.unique(ngrams(words, min(SHINGLE_WORDS, max(1, len(words)))))


def _permutations() -> tuple[Hashes, Hashes]:
    """Odd factors and offsets (rows, 1) of multiply-shift hashing (Dietzfelbinger et al. 1997)."""
    numbers = mix(np.arange(1, 2 * NUM_BANDS * ROWS_PER_BAND + 1, dtype=np.uint64))
    factors, offsets = numbers.reshape(2, -1, 1)
    return factors | np.uint64(1), offsets


def _band_hashes(shingles: Hashes, factors: Hashes, offsets: Hashes) -> Hashes:
    """One hash for each band of the MinHash signature of a text that has words."""
    signature: Hashes = ((shingles * factors + offsets) >> np.uint64(32)).min(1)
    rows = signature.reshape(NUM_BANDS, ROWS_PER_BAND)
    total = rows[:, 0].copy()
    for row in range(1, ROWS_PER_BAND):
        total = mix(total) + rows[:, row]
    return total


def jaccard(a: Hashes, b: Hashes) -> float:
    """Share of the shingles of both that are in each."""
    num_shared = len(np.intersect1d(a, b, assume_unique=True))
    return num_shared / (len(a) + len(b) - num_shared)
