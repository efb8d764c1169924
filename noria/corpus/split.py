"""Decide what is trained on, what the gate measures on, and what no gate ever reads.

In: records, shares and a seed. Out: `train`, `held_out` and `test`. A hash decides, so a record
stays where it is when others are added. Groups (a file, a thread) stay together where there are
enough of them; else single records are dealt out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from noria.corpus.deduplicate import whole_text
from noria.errors import InputError
from noria.recipe import CorpusSettings
from noria.records import Record

SPLITS = ("train", "held_out", "test")
MIN_TRAIN_SHARE = 0.5  # of the text; where whole groups would leave less, records are dealt out

RecordT = TypeVar("RecordT", bound=Record)


def split_of(group: str, seed: int, held_out: float, test: float) -> str:
    """The split of a group: 'train', 'held_out' or 'test', with these shares of all groups."""
    position = _position(group, seed)
    if position < test:
        return "test"
    return "held_out" if position < test + held_out else "train"


def _position(key: str, seed: int) -> float:
    """A number in [0, 1) that only the key and the seed decide."""
    digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_records(
    records: Sequence[RecordT], settings: CorpusSettings, seed: int
) -> dict[str, list[RecordT]]:
    """Deal records into the three splits, none of them empty; order is kept.

    By group where that leaves no split empty and half of the text to train on; else by the text of
    single records; and where those are too few for chance, the smallest hashes go to test and
    held_out. Raises InputError for fewer than three records.
    """
    if len(records) < 3:
        raise InputError(
            f"{len(records)} usable document{'s' if len(records) != 1 else ''}",
            "at least 3: one to train on, one for the gate, one for the test",
            "add text: about 2,000 characters, or a file of its own, make a document",
        )
    for key in (_group, whole_text):
        splits = _deal(records, settings, seed, key)
        if all(splits.values()) and _train_share(splits) >= MIN_TRAIN_SHARE:
            return splits
    return _smallest(records, seed)


def _group(record: Record) -> str:
    return record.group


def _deal(
    records: Sequence[RecordT],
    settings: CorpusSettings,
    seed: int,
    key: Callable[[Record], str],
) -> dict[str, list[RecordT]]:
    splits: dict[str, list[RecordT]] = {name: [] for name in SPLITS}
    for record in records:
        splits[split_of(key(record), seed, settings.held_out, settings.test)].append(record)
    return splits


def _train_share(splits: dict[str, list[RecordT]]) -> float:
    sizes = {name: sum(len(whole_text(one)) for one in kept) for name, kept in splits.items()}
    return sizes["train"] / max(1, sum(sizes.values()))


def _smallest(records: Sequence[RecordT], seed: int) -> dict[str, list[RecordT]]:
    by_hash = sorted(range(len(records)), key=lambda i: _position(whole_text(records[i]), seed))
    test, held_out = by_hash[0], by_hash[1]
    return {
        "train": [one for i, one in enumerate(records) if i not in (test, held_out)],
        "held_out": [records[held_out]],
        "test": [records[test]],
    }
