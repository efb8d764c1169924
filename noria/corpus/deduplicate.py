"""Drop records that are there already, word for word or nearly.

In: records. Out: the records kept and, for each one dropped, what it duplicates. Which copy stays
depends on the sources' names and positions alone, never on the order of reading.

Near-duplicates: 5-word shingles (Chinese: characters), MinHash signatures in bands (`minhash`);
every pair that a band proposes is then compared exactly, so a record is dropped only at a Jaccard
similarity of 0.8 or more.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, final

import numpy as np
import numpy.typing as npt

from noria.corpus.minhash import NUM_BANDS, MinHasher, jaccard, shared_buckets
from noria.corpus.shingles import Hashes
from noria.corpus.sources import source_name
from noria.corpus.table import Entry, Kept, normal_digest, source_order, text_digest, whole_text
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
    in_order = sorted(records, key=lambda one: (rank(one), source_order(one), _digest(one)))
    first: dict[bytes, RecordT] = {}
    distinct: list[RecordT] = []
    exact: list[Drop] = []
    for record in in_order:
        same = first.setdefault(normal_digest(record), record)
        if same is record:
            distinct.append(record)
        else:
            exact.append(Drop(record.source, same.source, 1.0))
    del in_order, first
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


def _digest(record: Kept) -> bytes:
    return record.digest if isinstance(record, Entry) else text_digest(whole_text(record))


def _drop_near(
    records: Sequence[RecordT], progress: Callable[[int, int], None]
) -> tuple[list[RecordT], list[Drop]]:
    """This holds 300 bytes a record, and for a while the shingles of those that share a band.

    (25 band hashes of 8 bytes, 25 bucket numbers of 4.)
    """
    shingles = _Shingles(records)
    buckets = shared_buckets(_bands(records))
    members: dict[int, list[int]] = defaultdict(list)  # bucket -> kept records, in order
    kept: list[RecordT] = []
    drops: list[Drop] = []
    for index, record in enumerate(records):
        progress(index + 1, len(records))
        keys = buckets[index][buckets[index] >= 0].tolist()
        others = sorted({other for key in keys for other in members.get(key, ())})
        for other in others:
            similarity = jaccard(shingles[index], shingles[other])
            if similarity >= MIN_JACCARD:
                drops.append(Drop(record.source, records[other].source, similarity))
                break
        else:
            kept.append(record)
            for key in keys:
                members[key].append(index)
    return kept, drops


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
        found = self._hasher.shingles(whole_text(self._records[index]))
        self._known[index] = found
        self._num_bytes += found.nbytes
        while self._num_bytes > MAX_REMEMBERED_BYTES and len(self._known) > 1:
            self._num_bytes -= self._known.popitem(last=False)[1].nbytes
        return found


def _bands(records: Sequence[Kept]) -> npt.NDArray[np.uint64]:
    """(N, bands): of entries as they were stored, of others now."""
    found = np.zeros((len(records), NUM_BANDS), np.uint64)
    hasher = MinHasher()
    of_table: dict[int, list[int]] = defaultdict(list)
    for index, record in enumerate(records):
        if isinstance(record, Entry):
            of_table[id(record.table)].append(index)
        else:
            found[index] = hasher.bands(whole_text(record))
    for some in of_table.values():
        entries = [one for one in (records[index] for index in some) if isinstance(one, Entry)]
        found[some] = entries[0].table.bands(np.array([one.row for one in entries]))
    return found
