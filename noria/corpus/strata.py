"""Deal groups out so that every stratum has its shares, and leave where it is what was dealt.

In: records, shares, a seed, and what was decided when an earlier corpus was made. Out: the side of
each record, and all decisions, for the next time. A stratum is a label of labelled records, and of
the others what has one shape, source and language.

No rule that looks at the records alone can do both. If every five groups have a measured one, and
nothing that is measured is ever trained on when others come, then of a thousand groups all but four
are measured. So decisions are kept: what was dealt stays, and what is new fills what is missing.

Threads and authors stay whole, and so do files, but for one that holds more than a tenth of a
stratum: its records are dealt out, for whole it would leave nothing to choose.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from noria.corpus.folder import stored_records
from noria.corpus.kept import Kept, digest_but_for_spaces, kept_shape, language_of
from noria.corpus.shingles import text_digest
from noria.corpus.sources import source_name
from noria.corpus.split import SPLITS, position_of
from noria.corpus.table import Entry
from noria.errors import FormatError
from noria.records import Labelled
from noria.text_settings import CorpusSettings

DECIDED_NAME = "decided.npy"
MIN_UNITS = 5  # of a stratum that has something on each side; smaller ones of a shape are one
MAX_FILE_SHARE = 0.1  # of a stratum's records, in a file that stays whole
KEY_BYTES = 16
IN_PIECES = len(SPLITS)  # of a group: its records are dealt out

Decided = dict[bytes, int]  # digest of a group or of a record's text -> place in SPLITS, IN_PIECES


@dataclass
class _Unit:
    """What is dealt as one: a group, or a record of one in pieces."""

    key: bytes
    strata: Counter[str] = field(default_factory=Counter)


def group_key(record: Kept) -> bytes:
    """Names a record's group."""
    return text_digest(f"group\n{record.group}")


def side_of(record: Kept, decided: Decided) -> int | None:
    """The place in SPLITS that was decided for a record, None for a new one.

    A text that was measured on stays so, in whatever file or thread it stands now.
    """
    return decided.get(_unit_key(record, decided))


def _unit_key(record: Kept, decided: Decided) -> bytes:
    """Names what the record is dealt with."""
    text, group = digest_but_for_spaces(record), group_key(record)
    return text if decided.get(text) or decided.get(group) == IN_PIECES else group


def deal_records(
    records: Sequence[Kept], settings: CorpusSettings, seed: int, earlier: Decided
) -> tuple[list[int], Decided]:
    """The place in SPLITS of each record, and every decision, the earlier ones among them.

    The records' order does not matter.
    """
    strata = [_strata_of(record) for record in records]
    decided = earlier | _in_pieces(records, strata, earlier)
    units: dict[bytes, _Unit] = {}
    keys = [_unit_key(record, decided) for record in records]
    for key, names in zip(keys, strata, strict=True):
        units.setdefault(key, _Unit(key)).strata.update(names)
    _pool_small(units.values())
    sides = _deal(units, decided, {1: settings.held_out, 2: settings.test}, seed)
    found = [sides[key] for key in keys]
    texts = {
        digest_but_for_spaces(one): side for one, side in zip(records, found, strict=True) if side
    }
    return found, decided | sides | texts


def _strata_of(record: Kept) -> list[str]:
    source = source_name(record.source)
    shape = kept_shape(record)
    if shape == "labelled":
        whole = record.record if isinstance(record, Entry) else record
        assert isinstance(whole, Labelled)
        return [f"{shape}\n{source}\n{label}" for label in sorted(set(whole.labels)) or [""]]
    return [f"{shape}\n{source}\n{language_of(record)}"]


def _in_pieces(
    records: Sequence[Kept], strata: Sequence[Sequence[str]], earlier: Decided
) -> Decided:
    """The new files that are too much of a stratum to stay whole, and what has no group."""
    totals: Counter[str] = Counter()
    in_file: dict[bytes, Counter[str]] = defaultdict(Counter)
    for record, names in zip(records, strata, strict=True):
        totals.update(names)
        if record.group in ("", record.source.file) and group_key(record) not in earlier:
            in_file[group_key(record)].update(names)
    nameless = text_digest("group\n")
    return {
        key: IN_PIECES
        for key, counts in in_file.items()
        if key == nameless
        or any(count > MAX_FILE_SHARE * totals[name] for name, count in counts.items())
    }


def _pool_small(units: Iterable[_Unit]) -> None:
    """Make one stratum of those of a shape that have too few units."""
    units = list(units)
    num_units = Counter(name for unit in units for name in unit.strata)
    for unit in units:
        for name in [name for name in unit.strata if num_units[name] < MIN_UNITS]:
            unit.strata[name.split("\n")[0]] += unit.strata.pop(name)


def _deal(
    units: Mapping[bytes, _Unit], decided: Decided, shares: Mapping[int, float], seed: int
) -> Decided:
    """The side of each unit; of those that are new, in the order of a hash, the rarest first."""
    sides = {key: decided[key] for key in units if key in decided}
    counts: dict[int, Counter[str]] = {side: Counter() for side in shares}
    totals: Counter[str] = Counter()
    members: dict[str, list[_Unit]] = defaultdict(list)
    for key in sorted(units, key=lambda one: (position_of(one.hex(), seed), one)):
        unit = units[key]
        totals.update(unit.strata)
        if key not in sides:
            for name in unit.strata:
                members[name].append(unit)
        elif sides[key] in shares:
            counts[sides[key]].update(unit.strata)
    num_units = Counter(name for unit in units.values() for name in unit.strata)
    wanted = {
        side: {
            name: max(int(num_units[name] >= MIN_UNITS), round(share * total))
            for name, total in totals.items()
        }
        for side, share in shares.items()
    }
    for name in sorted(members, key=lambda one: (totals[one], one)):
        for side in shares:
            free = [unit for unit in members[name] if unit.key not in sides]
            for unit in _chosen(free, name, wanted[side], counts[side]):
                sides[unit.key] = side
    return {key: sides.get(key, 0) for key in units}


def _chosen(
    free: Sequence[_Unit], name: str, wanted: Mapping[str, int], counts: Counter[str]
) -> list[_Unit]:
    """Units that bring one side of a stratum to what is wanted; the counts hear of them."""
    chosen: list[_Unit] = []
    rest: list[_Unit] = []
    for unit in free:
        if counts[name] >= wanted[name]:
            return chosen
        fits = all(counts[one] + more <= wanted[one] for one, more in unit.strata.items())
        (chosen if fits else rest).append(unit)
        if fits:
            counts.update(unit.strata)
    if counts[name] < wanted[name] and rest:  # too much, if that is nearer than too little
        least = min(rest, key=lambda unit: unit.strata.total())
        missing = wanted[name] - counts[name]
        if not counts[name] or least.strata[name] < 2 * missing:
            chosen.append(least)
            counts.update(least.strata)
    return chosen


def write_decided(folder: Path, decided: Decided) -> None:
    """Write decisions into a corpus's folder: (N, 17) bytes, a key and a side in each row."""
    rows = b"".join(key + bytes([side]) for key, side in sorted(decided.items()))
    np.save(folder / DECIDED_NAME, np.frombuffer(rows, np.uint8).reshape(-1, KEY_BYTES + 1))


def read_decided(folder: Path) -> Decided:
    """What was decided when a corpus was made; of one that noted nothing, what it shows.

    Raises FormatError for a file that holds something else.
    """
    path = folder / DECIDED_NAME
    if not path.exists():
        return _shown_by(folder)
    try:
        rows = np.load(path, allow_pickle=False)
        whole = rows.dtype == np.uint8 and rows.ndim == 2 and rows.shape[1] == KEY_BYTES + 1
    except (ValueError, EOFError) as error:
        raise _no_decisions(path) from error
    if not whole or (len(rows) and rows[:, KEY_BYTES].max() > IN_PIECES):
        raise _no_decisions(path)
    return {row[:KEY_BYTES]: row[KEY_BYTES] for row in map(bytes, rows)}


def _no_decisions(path: Path) -> FormatError:
    return FormatError(
        f"{path} holds no decisions of a split",
        "what a stratified split writes",
        "delete the folder that it is in and run again",
    )


def _shown_by(folder: Path) -> Decided:
    """Of a corpus that was split by another rule: a group on two sides is one in pieces."""
    decided: Decided = {}
    for stored in stored_records(folder):
        if stored.record.synthetic:
            continue
        side, group = SPLITS.index(stored.split), group_key(stored.record)
        decided[digest_but_for_spaces(stored.record)] = side
        same = decided.setdefault(group, side) == side
        decided[group] = side if same and stored.record.group else IN_PIECES
    return decided
