"""Decide what is trained on, what the gate measures on, and what no gate ever reads.

In: records, shares and a seed. Out: `train`, `held_out` and `test`. A hash decides, so a record
stays where it is when others are added. Groups (a file, a thread) stay together where there are
enough of them; else single records are dealt out, and that is decided anew when records are added.

A recipe that names what is split by (`group`, `record`, `time`) gets a rule that looks at one
record alone, so that nothing ever moves. Languages and sources then have the shares that were asked
up to chance; `strata` gives each small one its part, and keeps what was decided to do so.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from noria.corpus.kept import Kept, num_characters, whole_text
from noria.errors import InputError, UsageError
from noria.text_settings import CorpusSettings

SPLITS = ("train", "held_out", "test")
MIN_TRAIN_SHARE = 0.5  # of the text; where whole groups would leave less, records are dealt out

_DATE = re.compile(r"(?<!\d)(\d{4}-\d{2}-\d{2})(?!\d)")
_DATE_FORM = "a date in the file's name, such as 2026-07-01"

RecordT = TypeVar("RecordT", bound=Kept)


def split_of(group: str, seed: int, held_out: float, test: float) -> str:
    """The split of a group: 'train', 'held_out' or 'test', with these shares of all groups."""
    position = position_of(group, seed)
    if position < test:
        return "test"
    return "held_out" if position < test + held_out else "train"


def position_of(key: str, seed: int) -> float:
    """A number in [0, 1) that only the key and the seed decide."""
    digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_records(
    records: Sequence[RecordT], settings: CorpusSettings, seed: int
) -> dict[str, list[RecordT]]:
    """Deal records into the three splits, none of them empty; order is kept.

    By the rule that the recipe names. Where it names none, by group, if that leaves no split empty
    and half of the text to train on; else by the text of single records; and where those are too
    few for chance, the smallest hashes go to test and held_out. Raises InputError for fewer than
    three records, or if the recipe's rule leaves a split empty.
    """
    if settings.split != "auto":
        return _split_by_rule(records, settings, seed)
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


def split_rule(settings: CorpusSettings, seed: int) -> Callable[[Kept], str] | None:
    """The split of a record by the record alone; None where the other records matter too.

    Raises UsageError for a split by time without its two dates. The rule raises InputError for a
    record whose file has no date.
    """
    if settings.split in ("auto", "stratified"):
        return None
    if settings.split == "time":
        if not "" < settings.held_out_from < settings.test_from:
            raise UsageError(
                f"corpus.held_out_from = {settings.held_out_from!r}, "
                f"test_from = {settings.test_from!r}",
                "two dates, the first before the second",
                "write both into the recipe, such as 2026-07-01",
            )
        return lambda record: _split_by_date(record, settings)
    key = _group if settings.split == "group" else whole_text
    return lambda record: split_of(key(record), seed, settings.held_out, settings.test)


def _split_by_date(record: Kept, settings: CorpusSettings) -> str:
    found = _DATE.search(record.source.file)
    if found is None:
        raise InputError(f"{record.source.file} has no date", _DATE_FORM, "rename it")
    if found[1] >= settings.test_from:
        return "test"
    return "held_out" if found[1] >= settings.held_out_from else "train"


def _split_by_rule(
    records: Sequence[RecordT], settings: CorpusSettings, seed: int
) -> dict[str, list[RecordT]]:
    rule = split_rule(settings, seed)
    assert rule is not None
    splits: dict[str, list[RecordT]] = {name: [] for name in SPLITS}
    for record in records:
        splits[rule(record)].append(record)
    refuse_empty(splits, settings.split)
    return splits


def refuse_empty(splits: Mapping[str, Sequence[Kept]], how: str) -> None:
    """Raise InputError if a way of splitting left one of the three without a record."""
    empty = [name for name in SPLITS if not splits[name]]
    if empty:
        raise InputError(
            f"corpus.split = {how!r} leaves nothing for {' and '.join(empty)}",
            "something in each split",
            "add text, change the shares or dates, or set split = 'auto'",
        )


def _group(record: Kept) -> str:
    return record.group


def _deal(
    records: Sequence[RecordT],
    settings: CorpusSettings,
    seed: int,
    key: Callable[[Kept], str],
) -> dict[str, list[RecordT]]:
    splits: dict[str, list[RecordT]] = {name: [] for name in SPLITS}
    for record in records:
        splits[split_of(key(record), seed, settings.held_out, settings.test)].append(record)
    return splits


def _train_share(splits: dict[str, list[RecordT]]) -> float:
    sizes = {name: sum(map(num_characters, kept)) for name, kept in splits.items()}
    return sizes["train"] / max(1, sum(sizes.values()))


def _smallest(records: Sequence[RecordT], seed: int) -> dict[str, list[RecordT]]:
    by_hash = sorted(range(len(records)), key=lambda i: position_of(whole_text(records[i]), seed))
    test, held_out = by_hash[0], by_hash[1]
    return {
        "train": [one for i, one in enumerate(records) if i not in (test, held_out)],
        "held_out": [records[held_out]],
        "test": [records[test]],
    }
