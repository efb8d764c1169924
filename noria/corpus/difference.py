"""What changed between two corpora: records, splits, files and counts, with examples.

In: the ledgers of two corpora, the earlier first. Out: plain values. A record is the same if its
text is, wherever it stands; what is left on both sides at one file and line is one that changed.
What was measured on and is trained on now is told apart from everything else: it makes every later
number worthless. This module reads texts only of the examples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from noria.corpus.choose import Shown
from noria.corpus.ledger import Digests, Ledger, Numbers, pair_single, pair_up
from noria.corpus.sources import source_name
from noria.corpus.split import SPLITS
from noria.records import Source

TRAIN = SPLITS.index("train")
MAX_FILES = 1000  # that are named; all are counted
_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))  # odd: xxHash's primes


@dataclass(frozen=True)
class Change:
    """An example: a record before and after; None where it was not, or is no more."""

    kind: str
    before: Shown | None
    after: Shown | None


@dataclass(frozen=True)
class Move:
    """How many records went from one split to another."""

    before: str
    after: str
    records: int


@dataclass(frozen=True)
class Count:
    """Records of a split, source or language, before and after."""

    name: str
    before: int
    after: int


@dataclass(frozen=True)
class FileChange:
    """A file that came, went, or of which the corpus has other records now."""

    file: str
    what: str
    before: int
    after: int


@dataclass(frozen=True)
class Difference:
    """Everything that changed.

    `same` records have the same text, labels and tags; `relocated` ones of them stand elsewhere in
    their files. `relabelled` have the text, not the labels, tags, roles or shape. `changed` stand
    where they stood with another text. `leaked` were measured on and are trained on now.
    """

    records_before: int
    records_after: int
    same: int
    relocated: int
    relabelled: int
    changed: int
    added: int
    removed: int
    leaked: int
    moves: tuple[Move, ...]
    splits: tuple[Count, ...]
    sources: tuple[Count, ...]
    languages: tuple[Count, ...]
    num_files: dict[str, int]
    files: tuple[FileChange, ...]
    examples: tuple[Change, ...]


@dataclass(frozen=True)
class _Pairs:
    """Rows of both ledgers that are one record: with the same text, and with another."""

    a: Numbers
    b: Numbers
    changed_a: Numbers
    changed_b: Numbers
    removed: Numbers
    added: Numbers


def compare(a: Ledger, b: Ledger, num_examples: int) -> Difference:
    """Compare two corpora; `num_examples` of each kind of change."""
    pairs = _pair_records(a, b)
    whole = a.whole[pairs.a] == b.whole[pairs.b]
    leaked = _leaked(a, b, pairs)
    files = _file_changes(a, b)
    moves = _moves(a, b, pairs)
    relabelled = pairs.a[~whole], pairs.b[~whole]
    kinds: list[tuple[str, Numbers | None, Numbers | None]] = [
        ("leaked", *leaked),
        ("moved", *_moved(a, b, pairs)),
        ("relabelled", *relabelled),
        ("changed", pairs.changed_a, pairs.changed_b),
        ("added", None, pairs.added),
        ("removed", pairs.removed, None),
    ]
    return Difference(
        records_before=len(a),
        records_after=len(b),
        same=int(whole.sum()),
        relocated=int((whole & (a.place[pairs.a] != b.place[pairs.b])).sum()),
        relabelled=int((~whole).sum()),
        changed=len(pairs.changed_a),
        added=len(pairs.added),
        removed=len(pairs.removed),
        leaked=len(leaked[1]),
        moves=moves,
        splits=_counts([SPLITS[n] for n in a.split], [SPLITS[n] for n in b.split]),
        sources=_counts(_sources(a), _sources(b)),
        languages=_counts(
            [a.languages[n] for n in a.language], [b.languages[n] for n in b.language]
        ),
        num_files=dict(Counter(one.what for one in files)),
        files=tuple(files[:MAX_FILES]),
        examples=tuple(
            one
            for kind, rows_a, rows_b in kinds
            for one in _examples(kind, a, b, rows_a, rows_b, num_examples)
        ),
    )


def _pair_records(a: Ledger, b: Ledger) -> _Pairs:
    """By text: first at the same place in the same split, then in it, then anywhere.

    What is left on both sides is paired by its first byte, then by its line, if it is alone there.
    """
    left_a, left_b = np.arange(len(a)), np.arange(len(b))
    found_a, found_b = [], []
    for key in (_text_split_place, _text_split, _text):
        one_a, one_b, left_a, left_b = pair_up(key(a), key(b), left_a, left_b)
        found_a.append(one_a)
        found_b.append(one_b)
    spot_a, spot_b, left_a, left_b = pair_up(a.spot, b.spot, left_a, left_b)
    line_a, line_b, removed, added = pair_single(a.place, b.place, left_a, left_b)
    return _Pairs(
        np.concatenate(found_a),
        np.concatenate(found_b),
        np.concatenate([spot_a, line_a]),
        np.concatenate([spot_b, line_b]),
        removed,
        added,
    )


def _text(ledger: Ledger) -> Digests:
    return ledger.text


def _text_split(ledger: Ledger) -> Digests:
    return ledger.text ^ ((ledger.split.astype(np.uint64) + np.uint64(1)) * _MIX[0])


def _text_split_place(ledger: Ledger) -> Digests:
    return _text_split(ledger) ^ (ledger.place * _MIX[1])


def _leaked(a: Ledger, b: Ledger, pairs: _Pairs) -> tuple[Numbers, Numbers]:
    """Rows of `a` that are measured on, and of `b` that train on the same, changed or not.

    A text that `a` trains on besides is no news. One row of each for every text.
    """
    measured, trained = np.flatnonzero(a.split != TRAIN), np.flatnonzero(b.split == TRAIN)
    fresh = measured[~np.isin(a.text[measured], a.text[a.split == TRAIN])]
    _, at_a, at_b = np.intersect1d(a.text[fresh], b.text[trained], return_indices=True)
    moved = (a.split[pairs.changed_a] != TRAIN) & (b.split[pairs.changed_b] == TRAIN)
    return (
        np.concatenate([fresh[at_a], pairs.changed_a[moved]]),
        np.concatenate([trained[at_b], pairs.changed_b[moved]]),
    )


def _moved(a: Ledger, b: Ledger, pairs: _Pairs) -> tuple[Numbers, Numbers]:
    rows_a = np.concatenate([pairs.a, pairs.changed_a])
    rows_b = np.concatenate([pairs.b, pairs.changed_b])
    moved = a.split[rows_a] != b.split[rows_b]
    return rows_a[moved], rows_b[moved]


def _moves(a: Ledger, b: Ledger, pairs: _Pairs) -> tuple[Move, ...]:
    rows_a, rows_b = _moved(a, b, pairs)
    counts = Counter(zip(a.split[rows_a].tolist(), b.split[rows_b].tolist(), strict=True))
    return tuple(Move(SPLITS[x], SPLITS[y], count) for (x, y), count in sorted(counts.items()))


def _sources(ledger: Ledger) -> list[str]:
    names = [source_name(Source(file)) for file in ledger.files]
    return [names[number] for number in ledger.file]


def _counts(before: Sequence[str], after: Sequence[str]) -> tuple[Count, ...]:
    one, other = Counter(before), Counter(after)
    found = [Count(name, one[name], other[name]) for name in one.keys() | other.keys()]
    return tuple(sorted(found, key=lambda count: (-max(count.before, count.after), count.name)))


def _file_changes(a: Ledger, b: Ledger) -> list[FileChange]:
    """Files by name; one has other records if the sum of their digests is another."""
    before, after = _by_file(a), _by_file(b)
    found = []
    for name in sorted(before.keys() | after.keys()):
        one, other = before.get(name), after.get(name)
        if one != other:
            what = "added" if one is None else "removed" if other is None else "other records"
            found.append(FileChange(name, what, one[0] if one else 0, other[0] if other else 0))
    return found


def _by_file(ledger: Ledger) -> dict[str, tuple[int, int]]:
    """Of each file: how many records there are, and the sum of their digests modulo 2^64."""
    counts = np.bincount(ledger.file, minlength=len(ledger.files))
    sums = np.zeros(len(ledger.files), np.uint64)
    np.add.at(sums, ledger.file, ledger.whole)
    return {
        name: (int(count), int(total))
        for name, count, total in zip(ledger.files, counts, sums, strict=True)
    }


def _examples(
    kind: str, a: Ledger, b: Ledger, rows_a: Numbers | None, rows_b: Numbers | None, count: int
) -> list[Change]:
    """The first of some rows, and those that lie evenly behind it."""
    some = rows_a if rows_a is not None else rows_b
    assert some is not None
    step = max(1, len(some) // max(1, count))
    found = []
    for at in range(0, len(some), step)[:count]:
        before = a.show(int(rows_a[at])) if rows_a is not None else None
        after = b.show(int(rows_b[at])) if rows_b is not None else None
        found.append(Change(kind, before, after))
    return found
