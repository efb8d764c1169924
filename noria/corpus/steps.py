"""What happens to records once they are clean: what is left out, and which side they come to.

In: entries of a table of clean records and the recipe's settings. Out: the entries that stay; what
goes is in the tally, with its reason. This module knows neither files nor formats.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from noria.corpus.boilerplate import Boilerplate
from noria.corpus.clean import choices_of, clean_text
from noria.corpus.decontaminate import MeasuredSet, drop_contaminated
from noria.corpus.deduplicate import drop_duplicates
from noria.corpus.kept import Kept, source_order
from noria.corpus.minhash import MinHasher
from noria.corpus.part_writer import PartWriter
from noria.corpus.parts import with_language
from noria.corpus.quality import judge_documents
from noria.corpus.report import Progress, Tally
from noria.corpus.split import SPLITS, refuse_empty, split_records, split_rule
from noria.corpus.strata import Decided, deal_records, side_of
from noria.corpus.table import Entry, Table
from noria.corpus.workers import Workers
from noria.records import Document, Record, text_content
from noria.text_settings import CorpusSettings

Splits = dict[str, list[Entry]]
KnownSide = Callable[[Kept], int | None]


def without_boilerplate(
    documents: list[Entry], settings: CorpusSettings, tally: Tally, scratch: Path
) -> list[Entry]:
    """Documents without the lines that their source repeats; too short ones are left out then.

    Those that changed are written into a table of their own under `scratch`.
    """
    if not settings.boilerplate or not documents:
        return documents
    found = Boilerplate(documents, settings.boilerplate)
    table = Table(scratch / "without_boilerplate")
    writer = PartWriter(table.folder, 0, MinHasher())
    kept: list[Entry | None] = []
    for one in documents:
        left = found.without(one)
        if left is None:
            kept.append(one)
            continue
        text = clean_text(left, choices_of(settings))  # blank lines met
        if len(text) >= settings.min_characters:
            before = one.record
            assert isinstance(before, Document)
            record = replace(before, content=text_content(text))
            writer.add(*with_language(record, settings.language))
            kept.append(None)  # the next one of the new table
        else:
            tally.too_short += 1
            tally.drop("too short without boilerplate", one.source)
    writer.close({})
    table.add(writer.path)
    changed = iter(table.entries())
    tally.boilerplate = found.removed()
    return [one or next(changed) for one in kept]


def worth_learning(
    documents: list[Entry], settings: CorpusSettings, tally: Tally, progress: Progress
) -> list[Entry]:
    """Documents within the limits of quality; all of them where the recipe only wants to know."""
    limits = settings.quality
    if limits.judge == "off":
        return documents
    kept = []
    judged = judge_documents(documents, limits, lambda done, of: progress("quality", done, of))
    for record, excesses in zip(documents, judged, strict=True):
        if excesses:
            tally.beyond.append((record, excesses))
        if excesses and limits.judge == "cut":
            signals = {one.signal: round(one.value, 4) for one in excesses}
            tally.drop("quality", record.source, signals=signals)
        else:
            kept.append(record)
    return kept


def known_sides(settings: CorpusSettings, seed: int, earlier: Decided) -> KnownSide:
    """What is fixed of a record's split before all records are known: its place in SPLITS."""
    if settings.split == "stratified":
        return lambda record: side_of(record, earlier)
    rule = split_rule(settings, seed)
    return (lambda record: SPLITS.index(rule(record))) if rule else (lambda record: None)


def distinct_records(
    records: list[Entry],
    settings: CorpusSettings,
    known: KnownSide,
    tally: Tally,
    progress: Progress,
) -> list[Entry]:
    """Records without copies; where one's split is fixed, the copy to measure on stays.

    Else a copy that is added to what is trained on would take the other's place there. What a
    program wrote gives way to what people did.
    """
    result = drop_duplicates(
        records,
        settings.near_duplicates,
        lambda done, total: progress("deduplicate", done, total),
        lambda record: _rank(record, known),
    )
    tally.exact += result.exact
    tally.near += result.near
    for reason, drops in (("exact duplicate", result.exact), ("near duplicate", result.near)):
        for drop in drops:
            tally.drop(
                reason,
                drop.source,
                duplicate_of=asdict(drop.duplicate_of),
                similarity=round(drop.similarity, 4),
            )
    tally.languages.update(one.counted_language for one in result.kept)
    return result.kept


def _rank(record: Kept, known: KnownSide) -> int:
    if record.synthetic:
        return 1
    side = known(record)
    return 0 if side is None else -1 - side


def split_by_strata(
    shapes: Mapping[str, Sequence[Entry]],
    trained: Sequence[str],
    settings: CorpusSettings,
    seed: int,
    earlier: Decided,
) -> tuple[dict[str, Splits], Decided]:
    """The splits of the trained shapes together, under "", and of each other one; all decisions.

    A group that has records of several shapes is on one side with all of them. Raises InputError
    if nothing is trained or nothing measured on.
    """
    found: dict[str, Splits] = {"": {name: [] for name in SPLITS}}
    real = [one for some in shapes.values() for one in some if not one.synthetic]
    sides, decided = deal_records(real, settings, seed, earlier)
    side_of_row = {id(one): side for one, side in zip(real, sides, strict=True)}
    for shape, some in shapes.items():
        name = "" if shape in trained else shape
        splits = found.setdefault(name, {name: [] for name in SPLITS})
        for one in some:  # what a program wrote is trained on
            splits[SPLITS[side_of_row.get(id(one), 0)]].append(one)
    for splits in found.values():
        for name in SPLITS:
            splits[name].sort(key=source_order)
    refuse_empty(found[""], settings.split)
    return found, decided


def split_shapes(shapes: Sequence[Sequence[Entry]], settings: CorpusSettings, seed: int) -> Splits:
    """One corpus of several shapes in splits; what a program wrote is trained on.

    Each shape is split by itself, so that each is trained on and measured, if not by a rule. Fewer
    than three records of one shape are trained on if another has enough.
    """
    real = [[one for one in records if not one.synthetic] for records in shapes]
    splits: Splits = {name: [] for name in SPLITS}
    if settings.split != "auto":
        splits = split_records([one for records in real for one in records], settings, seed)
    else:
        enough = any(len(records) >= 3 for records in real)
        for number, records in enumerate(real):
            alone = not any(real[:number] + real[number + 1 :])
            if len(records) >= 3 or (records and not enough) or alone:
                for name, some in split_records(records, settings, seed).items():
                    splits[name] += some
            else:
                splits["train"] += records
    splits["train"] += [one for records in shapes for one in records if one.synthetic]
    return {name: sorted(records, key=source_order) for name, records in splits.items()}


def uncontaminated(
    parts: Sequence[Splits],
    evaluation: Sequence[Record],
    tally: Tally,
    progress: Progress,
    workers: Workers,
    scratch: Path,
) -> None:
    """Take out of what is trained on whatever shares a passage with a split or an evaluation file.

    `parts`: the splits of what is trained on together, and of each other shape; their `train` is
    replaced.
    """
    by_file: dict[str, list[Record]] = defaultdict(list)
    for record in evaluation:
        by_file[record.source.file].append(record)
    sets = [
        MeasuredSet(name, [record for part in parts for record in part[name]])
        for name in ("held_out", "test")
    ]
    sets += [MeasuredSet(name, some, short_too=True) for name, some in sorted(by_file.items())]
    result = drop_contaminated(
        [record for part in parts for record in part["train"]],
        sets,
        lambda done, of: progress("decontaminate", done, of),
        workers,
        scratch,
    )
    for one in result.dropped:
        shares = {"set": one.name, "measured": asdict(one.measured)}
        tally.drop("contaminated", one.record.source, **shares)
    tally.decontaminated = result
    gone = {id(one.record) for one in result.dropped}
    for part in parts:
        part["train"] = [record for record in part["train"] if id(record) not in gone]
