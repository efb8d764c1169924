"""Drop records that are there already, word for word or nearly.

In: records. Out: the records kept and, for each one dropped, what it duplicates. Which copy stays
depends on the sources' names and positions alone, never on the order of reading.

Near-duplicates: 5-word shingles (Chinese: characters), MinHash signatures in bands (`minhash`);
every pair that a band proposes is then compared exactly, so a record is dropped only at a Jaccard
similarity of 0.8 or more.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, final

import numpy as np
import numpy.typing as npt

from noria.corpus.kept import (
    Kept,
    digest_but_for_spaces,
    source_order,
    whole_digest,
    whole_text,
)
from noria.corpus.minhash import NUM_BANDS, MinHasher, jaccard, shared_buckets, shingles
from noria.corpus.shingles import Hashes
from noria.corpus.sources import source_name
from noria.corpus.table import Entry
from noria.records import Source

MIN_JACCARD = 0.8
MAX_REMEMBERED_BYTES = 64 << 20  # of shingles; more are made again when they are wanted

RecordT = TypeVar("RecordT", bound=Kept)


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


def drop_duplicates(
    records: Iterable[RecordT],
    near_duplicates: bool,
    progress: Callable[[int, int], None] = lambda done, total: None,
    rank: Callable[[RecordT], int] = lambda record: 0,
) -> Deduplicated[RecordT]:
    """Keep the first of every group of equal records and, if asked, of near-equal ones.

    Equal: the same text but for spaces and capital letters. `progress` gets (done, total) records.
    The first is that of the lowest `rank`, among those the first by source, and of those at one
    position the first by a digest of its text. What stays keeps its order.
    """
    records = list(records)
    in_order = _in_order(records, rank)
    digests = np.array([digest_but_for_spaces(one) for one in in_order], "S16")
    _, first, group = np.unique(digests, return_index=True, return_inverse=True)
    distinct: list[RecordT] = []
    exact: list[Drop] = []
    for index, same in enumerate(first[group].tolist()):
        if same == index:
            distinct.append(in_order[index])
        else:
            exact.append(Drop(in_order[index].source, in_order[same].source, 1.0))
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


def _in_order(records: Sequence[RecordT], rank: Callable[[RecordT], int]) -> list[RecordT]:
    """By rank, then by source, then by text; many entries without a key for each in memory."""
    entries = [one for one in records if isinstance(one, Entry)]
    if len(entries) < len(records) or len({id(one.table) for one in entries}) != 1:
        return sorted(records, key=lambda one: (rank(one), source_order(one), whole_digest(one)))
    columns = entries[0].table.columns[[one.row for one in entries]]
    files = entries[0].table.strings_in_order(columns["file"])
    ranks = np.array([rank(one) for one in records], np.int8)
    places = (columns[name] for name in ("text", "byte_end", "line", "byte_start"))
    return [records[index] for index in np.lexsort((*places, files, ranks))]


def _drop_near(
    records: Sequence[RecordT], progress: Callable[[int, int], None]
) -> tuple[list[RecordT], list[Drop]]:
    """This holds 300 bytes a record: 25 band hashes of 8 bytes and, after them, bucket numbers.

    Beside them the shingles of the records that were compared last.
    """
    sets = _Shingles(records)
    members = _Members(shared_buckets(_bands(records)))
    kept: list[RecordT] = []
    drops: list[Drop] = []
    for index, record in enumerate(records):
        progress(index + 1, len(records))
        for other in members.beside(index):
            similarity = jaccard(sets[index], sets[other])
            if similarity >= MIN_JACCARD:
                drops.append(Drop(record.source, records[other].source, similarity))
                break
        else:
            kept.append(record)
            members.add(index)
    return kept, drops


@final
class _Members:
    """The records that were added to buckets: chains in flat arrays, for there are millions."""

    def __init__(self, buckets: npt.NDArray[np.int32]) -> None:
        self._buckets = buckets
        self._last = array("i", [-1]) * (int(buckets.max(initial=-1)) + 1)  # place of the newest
        self._before = array("i", [-1]) * buckets.size  # of each place, the one added before it

    def beside(self, index: int) -> list[int]:
        """Those that share a bucket with a record, in order."""
        found: set[int] = set()
        for bucket in self._buckets[index].tolist():
            place = self._last[bucket] if bucket >= 0 else -1
            while place >= 0:
                found.add(place // NUM_BANDS)
                place = self._before[place]
        return sorted(found)

    def add(self, index: int) -> None:
        """Put a record into its buckets."""
        for band, bucket in enumerate(self._buckets[index].tolist()):
            if bucket >= 0:
                place = index * NUM_BANDS + band
                self._before[place], self._last[bucket] = self._last[bucket], place


@final
class _Shingles:
    """The shingles of records by their number, those that were wanted last."""

    def __init__(self, records: Sequence[Kept]) -> None:
        self._records = records
        self._hasher = MinHasher()
        self._known: OrderedDict[int, Hashes] = OrderedDict()
        self._num_bytes = 0

    def __getitem__(self, index: int) -> Hashes:
        if index in self._known:
            self._known.move_to_end(index)
            return self._known[index]
        found = shingles(_words(self._records[index], self._hasher))
        self._known[index] = found
        self._num_bytes += found.nbytes
        while self._num_bytes > MAX_REMEMBERED_BYTES and len(self._known) > 1:
            self._num_bytes -= self._known.popitem(last=False)[1].nbytes
        return found


def _words(record: Kept, hasher: MinHasher) -> Hashes:
    return record.words if isinstance(record, Entry) else hasher.words(whole_text(record))


def _bands(records: Sequence[Kept]) -> npt.NDArray[np.uint64]:
    """(N, bands): of entries as they were stored, of others now."""
    found = np.zeros((len(records), NUM_BANDS), np.uint64)
    hasher = MinHasher()
    of_table: dict[int, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        if isinstance(record, Entry):
            of_table[id(record.table)].append(index)
        else:
            found[index] = hasher.bands(_words(record, hasher))
    for some in of_table.values():
        entries = [one for one in (records[index] for index in some) if isinstance(one, Entry)]
        found[some] = entries[0].table.bands(np.array([one.row for one in entries]))
    return found
