"""All steps of the corpus, in order: files in, three splits and a report out.

In: the files that the recipe names. Out: `train.jsonl`, `held_out.jsonl`, `test.jsonl`,
`dropped.jsonl` (what was left out, why, and what it duplicates), `quarantine.jsonl` (what could not
be read, where and why) and `report.json`; records of shapes that nothing trains on yet lie in a
folder of their shape, split likewise.
The same files and settings give the same bytes. This module does not know tokens.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from noria.corpus.balance import balance_sources, parse_weights
from noria.corpus.clean import choices_of
from noria.corpus.cleaning import clean_records
from noria.corpus.deidentify import deidentifier_of
from noria.corpus.language import language_namer
from noria.corpus.quality import quality_facts
from noria.corpus.read import Intake, Request, SourceFile, Wanted, read_requests
from noria.corpus.report import Progress, Tally, corpus_report, split_sizes
from noria.corpus.split import SPLITS, split_rule
from noria.corpus.steps import (
    Splits,
    distinct_records,
    split_shapes,
    uncontaminated,
    without_boilerplate,
    worth_learning,
)
from noria.errors import InputError
from noria.records import Document, Record, shape_of, write_records
from noria.text_settings import CorpusSettings

TRAINED = ("document", "conversation")
OTHERS = ("labelled", "tagged", "pair", "preference")  # stored in folders of their own


def prepare_corpus(
    files_documents: list[SourceFile],
    files_tagged: list[SourceFile],
    files_conversations: list[SourceFile],
    settings: CorpusSettings,
    seed: int,
    out: Path,
    progress: Progress,
    sources: Sequence[Request] = (),
    evaluation: Sequence[Record] = (),
    synthetic: Sequence[Record] = (),
) -> dict[str, Any]:
    """Write the three splits, what is in quarantine and the report into `out`; returns the report.

    Nothing that shares a passage with a record of `evaluation` (clean ones) is trained on.
    Records of `synthetic` (clean ones) are trained on, marked, and never measured on.
    `progress` gets (step, done, total). Raises InputError for a file that changes meanwhile, or if
    fewer than three records are left.
    """
    choices_of(settings).check()  # what is not installed is said before the work
    language_namer(settings.language)
    split_rule(settings, seed)
    tally = Tally()
    requests = [
        *(Request(file, Wanted(shape="document")) for file in files_documents),
        *(Request(file, Wanted(shape="document", format="tagged")) for file in files_tagged),
        *(Request(file, Wanted(shape="conversation")) for file in files_conversations),
        *sources,
    ]
    out.mkdir(parents=True, exist_ok=True)
    hider = deidentifier_of(settings, personal=False)
    hide = (lambda text: hider.replace(text)[0]) if settings.identities == "replace" else str
    intake = read_requests(requests, out / "quarantine.jsonl", hide, progress)
    if not any(intake.records[shape] for shape in TRAINED):
        raise _nothing_to_train_on(intake)
    records = {
        shape: clean_records(some, settings, tally, progress)
        for shape, some in intake.records.items()
    }
    for one in synthetic:
        records[shape_of(one)].append(replace(one, synthetic=True))
    documents = [one for one in records["document"] if isinstance(one, Document)]
    documents = without_boilerplate(documents, settings, tally)
    records["document"] = [*worth_learning(documents, settings, tally, progress)]
    distinct = {
        shape: distinct_records(some, settings, seed, tally, progress)
        for shape, some in records.items()
    }
    try:
        splits = split_shapes([distinct[shape] for shape in TRAINED], settings, seed)
    except InputError as error:
        raise InputError(f"{error.given}{_lost(intake)}", error.expected, error.fix) from error
    others = {shape: _split_other(distinct[shape], settings, seed) for shape in OTHERS}
    uncontaminated([splits, *others.values()], evaluation, tally, progress)
    if not splits["train"]:
        raise InputError(
            "nothing is left to train on: every document shares a passage with a measured one",
            "documents that differ",
            "add text, or lower corpus.held_out and corpus.test",
        )
    if settings.weights or settings.temperature != 1:
        weights = parse_weights(settings.weights)
        splits["train"], tally.balance = balance_sources(
            splits["train"], weights, settings.temperature, seed
        )
    files = [request.file for request in requests]
    report = corpus_report(files, _num_read(intake, synthetic), tally, splits) | intake.report()
    if settings.quality.judge != "off":
        report["quality"] = quality_facts(tally.beyond, settings.quality)
    others = {shape: some for shape, some in others.items() if any(some.values())}
    report["splits_by_shape"] = {
        shape: {name: split_sizes(some[name]) for name in SPLITS} for shape, some in others.items()
    }
    for shape, some in others.items():
        _write_splits(out / shape, some)
    _write(out, splits, tally, report, progress)
    return report


def _num_read(intake: Intake, synthetic: Sequence[Record]) -> dict[str, int]:
    """How many records of each shape; of those that nothing trains on only what there is."""
    found = {f"{name}s": len(intake.records[name]) for name in TRAINED}
    found |= {name: len(intake.records[name]) for name in OTHERS if intake.records[name]}
    return found | ({"synthetic": len(synthetic)} if synthetic else {})


def _split_other(records: list[Record], settings: CorpusSettings, seed: int) -> Splits:
    """The splits of a shape that nothing trains on yet; too few for three splits are one."""
    if len(records) < 3:
        return {"train": list(records), "held_out": [], "test": []}
    return split_shapes([records], settings, seed)


def _nothing_to_train_on(intake: Intake) -> InputError:
    """Why a corpus without documents and conversations can't be made."""
    read = [f"{len(some):,} {name}" for name, some in intake.records.items() if some]
    return InputError(
        f"no document and no conversation was read, but {', '.join(read) or 'nothing'}"
        f"{_lost(intake)}",
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


def _write_splits(out: Path, splits: Splits) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name in SPLITS:
        write_records(out / f"{name}.jsonl", splits[name])


def _write(
    out: Path,
    splits: Splits,
    tally: Tally,
    report: dict[str, Any],
    progress: Progress,
) -> None:
    _write_splits(out, splits)
    progress("write", 1, 1)
    lines = (json.dumps(drop, ensure_ascii=False, sort_keys=True) for drop in tally.dropped)
    (out / "dropped.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (out / "report.json").write_text(
        json.dumps(report, indent=1, ensure_ascii=False), encoding="utf-8"
    )
