"""All steps of the corpus, in order: files in, three splits and a report out.

In: the files that the recipe names. Out: `train.jsonl`, `held_out.jsonl`, `test.jsonl`,
`dropped.jsonl` (what was left out, why, and what it duplicates), `quarantine.jsonl` (what could not
be read, where and why) and `report.json`; records of shapes that nothing trains on yet lie in a
folder of their shape, split likewise. A stratified split leaves `decided.npy` too.
The same files and settings give the same bytes, with any number of processes, stopped and begun
again or not. Texts stay on disk; what is in memory grows with the number of records alone.
This module does not know tokens.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from noria import __version__
from noria.artifacts import atomic_write
from noria.corpus.balance import balance_sources, parse_weights
from noria.corpus.clean import choices_of
from noria.corpus.deidentify import replacement_key, require_names
from noria.corpus.language import language_namer
from noria.corpus.parts import read_parts
from noria.corpus.quality import quality_facts
from noria.corpus.read import Intake, Request, SourceFile, Wanted
from noria.corpus.report import Progress, Tally, corpus_report, split_sizes
from noria.corpus.split import SPLITS, split_rule
from noria.corpus.steps import (
    KnownSide,
    Splits,
    distinct_records,
    known_sides,
    split_by_strata,
    split_shapes,
    uncontaminated,
    without_boilerplate,
    worth_learning,
)
from noria.corpus.strata import Decided, read_decided, write_decided
from noria.corpus.table import SHAPE_NAMES, Entry, Table
from noria.corpus.workers import Workers
from noria.errors import InputError
from noria.records import Record
from noria.text_settings import CorpusSettings

TRAINED = ("document", "conversation")
OTHERS = ("labelled", "tagged", "pair", "preference")  # stored in folders of their own
WORKER_BYTES = 1 << 20  # of files; for fewer a second process is not worth its start


def requests_of(
    documents: Sequence[SourceFile],
    tagged: Sequence[SourceFile],
    conversations: Sequence[SourceFile],
    sources: Sequence[Request] = (),
) -> list[Request]:
    """What a recipe's files are, in the order in which they are read."""
    return [
        *(Request(file, Wanted(shape="document")) for file in documents),
        *(Request(file, Wanted(shape="document", format="tagged")) for file in tagged),
        *(Request(file, Wanted(shape="conversation")) for file in conversations),
        *sources,
    ]


def prepare_corpus(
    requests: Sequence[Request],
    settings: CorpusSettings,
    seed: int,
    out: Path,
    progress: Progress,
    evaluation: Sequence[Record] = (),
    scratch: Path | None = None,
    num_workers: int = 1,
    earlier: Path | None = None,
) -> dict[str, Any]:
    """Write the three splits, what is in quarantine and the report into `out`; returns the report.

    Nothing that shares a passage with a record of `evaluation` (clean ones) is trained on. What a
    program wrote is trained on, marked, and never measured on.
    `scratch`: a folder for what is not finished, that a later call with the same files and settings
    goes on from; it is removed in the end. Without one it lies under `out`. `num_workers`: how many
    processes share the work, at most. `earlier`: the folder of a corpus, whose decisions a
    stratified split keeps.
    `progress` gets (step, done, total). Raises InputError for a file that changes meanwhile, or if
    fewer than three records are left.
    """
    choices_of(settings).check()  # what is not installed is said before the work
    language_namer(settings.language)
    split_rule(settings, seed)
    if settings.identities == "replace":  # the processes load the models; one key is for all
        require_names(settings, personal=False)
        if settings.replacement == "surrogate":
            replacement_key()
    out.mkdir(parents=True, exist_ok=True)
    scratch = _begin(scratch or out / "unfinished")
    with (
        closing(Table(scratch / "parts")) as table,
        Workers(_num_useful(requests, num_workers)) as workers,
        (out / "quarantine.jsonl").open("w", encoding="utf-8") as quarantine,
        (out / "dropped.jsonl").open("w", encoding="utf-8") as dropped,
    ):
        read = read_parts(requests, settings, table, quarantine, workers, progress)
        tally = Tally(dropped, read.changed, len(read.too_short), identities=read.identities)
        for source in read.too_short:
            tally.drop("too short", source)
        decided = read_decided(earlier) if earlier else {}
        known = known_sides(settings, seed, decided)
        distinct = _worth_having(
            table.entries(), read.intake, settings, known, tally, scratch, progress
        )
        splits, decided = _split(distinct, read.intake, settings, seed, decided)
        uncontaminated([*splits.values()], evaluation, tally, progress, workers, scratch)
        report = _report(splits, read.intake, len(requests), settings, seed, tally)
        _write(out, splits, progress)
        if decided:
            write_decided(out, decided)
    shutil.rmtree(scratch)
    text = json.dumps(report, indent=1, ensure_ascii=False)
    (out / "report.json").write_text(text, encoding="utf-8")
    return report


def _worth_having(
    entries: list[Entry],
    intake: Intake,
    settings: CorpusSettings,
    known: KnownSide,
    tally: Tally,
    scratch: Path,
    progress: Progress,
) -> dict[str, list[Entry]]:
    """By shape, the records that are no boilerplate, good enough, and there once."""
    if not any(intake.num_read[shape] for shape in TRAINED):
        raise _nothing_to_train_on(intake)
    records: dict[str, list[Entry]] = {shape: [] for shape in SHAPE_NAMES}
    for one in entries:
        records[one.shape].append(one)
    documents = without_boilerplate(records["document"], settings, tally, scratch)
    records["document"] = worth_learning(documents, settings, tally, progress)
    return {
        shape: distinct_records(some, settings, known, tally, progress)
        for shape, some in records.items()
    }


def _split(
    distinct: dict[str, list[Entry]],
    intake: Intake,
    settings: CorpusSettings,
    seed: int,
    earlier: Decided,
) -> tuple[dict[str, Splits], Decided]:
    """The splits of what is trained on, under "", and of each other shape; what was decided."""
    try:
        if settings.split == "stratified":
            there = {shape: some for shape, some in distinct.items() if some}
            return split_by_strata(there, TRAINED, settings, seed, earlier)
        splits = split_shapes([distinct[shape] for shape in TRAINED], settings, seed)
    except InputError as error:
        raise InputError(f"{error.given}{_lost(intake)}", error.expected, error.fix) from error
    others = {shape: distinct[shape] for shape in OTHERS if distinct[shape]}
    by_shape = {shape: _split_other(some, settings, seed) for shape, some in others.items()}
    return {"": splits} | by_shape, {}


def _report(
    splits: dict[str, Splits],
    intake: Intake,
    num_files: int,
    settings: CorpusSettings,
    seed: int,
    tally: Tally,
) -> dict[str, Any]:
    """Balance what is trained on; the report of everything."""
    trained = splits[""]
    if not trained["train"]:
        raise InputError(
            "nothing is left to train on: every document shares a passage with a measured one",
            "documents that differ",
            "add text, or lower corpus.held_out and corpus.test",
        )
    if settings.weights or settings.temperature != 1:
        weights = parse_weights(settings.weights)
        trained["train"], tally.balance = balance_sources(
            trained["train"], weights, settings.temperature, seed
        )
    report = corpus_report(num_files, _num_read(intake), tally, trained) | intake.report()
    if settings.quality.judge != "off":
        report["quality"] = quality_facts(tally.beyond, settings.quality)
    report["splits_by_shape"] = {
        shape: {name: split_sizes(some[name]) for name in SPLITS}
        for shape, some in splits.items()
        if shape and any(some.values())
    }
    return report


def _begin(scratch: Path) -> Path:
    """The folder, without what another version of Noria may have left in it."""
    about = scratch / "version.txt"
    if not about.exists() or about.read_text(encoding="utf-8") != __version__:
        shutil.rmtree(scratch, ignore_errors=True)
        atomic_write(about, __version__.encode())
    return scratch


def _num_useful(requests: Sequence[Request], num_workers: int) -> int:
    num_bytes = sum(one.file.path.stat().st_size for one in requests)
    return min(num_workers, 1 + num_bytes // WORKER_BYTES)


def _num_read(intake: Intake) -> dict[str, int]:
    """How many records of each shape; of those that nothing trains on only what there is."""
    found = {f"{name}s": intake.num_read[name] for name in TRAINED}
    found |= {name: intake.num_read[name] for name in OTHERS if intake.num_read[name]}
    return found | ({"synthetic": intake.num_synthetic} if intake.num_synthetic else {})


def _split_other(records: list[Entry], settings: CorpusSettings, seed: int) -> Splits:
    """The splits of a shape that nothing trains on yet; too few for three splits are one."""
    if len(records) < 3:
        return {"train": list(records), "held_out": [], "test": []}
    return split_shapes([records], settings, seed)


def _nothing_to_train_on(intake: Intake) -> InputError:
    """Why a corpus without documents and conversations can't be made."""
    read = [f"{intake.num_read[name]:,} {name}" for name in SHAPE_NAMES if intake.num_read[name]]
    other = f", but {', '.join(read)}" if read else ""
    return InputError(
        f"no document and no conversation was read{other}{_lost(intake)}",
        "text to train on",
        "mend the files, or say what they are under [sources.NAME]",
    )


def _lost(intake: Intake) -> str:
    """What went into quarantine, as a remark behind what an error says; nothing if nothing did."""
    if not intake.num_quarantined:
        return ""
    one = next(iter(intake.examples.values()))[0]
    place = f"{one['file']}:{one['line']}" if one["line"] else one["file"]
    return f" ({intake.num_quarantined:,} in quarantine, the first {place}: {one['reason'][:200]})"


def _write(out: Path, splits: dict[str, Splits], progress: Progress) -> None:
    """The splits of what is trained on into `out`, of other shapes into folders of their names."""
    written = {shape: some for shape, some in splits.items() if not shape or any(some.values())}
    for number, (shape, some) in enumerate(written.items(), start=1):
        (out / shape).mkdir(exist_ok=True)
        for name in SPLITS:
            with (out / shape / f"{name}.jsonl").open("wb") as file:
                file.writelines(one.line for one in some[name])
        progress("write", number, len(written))
