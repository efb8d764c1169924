"""From the labelled files of an application to three splits that a model can be made and judged by.

In: the files that `[tasks.NAME]` names. Out: an artifact with `train.jsonl`, `held_out.jsonl`,
`test.jsonl` and `quarantine.jsonl`. Records are read, cleaned and de-identified as the corpus's
are; what `train` shares with what is measured on is not trained on. Files that no model can be made
of are refused with what is wrong with them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from noria.artifacts import Artifact
from noria.corpus.cleaning import Cleaner
from noria.corpus.decontaminate import MeasuredSet, drop_contaminated
from noria.corpus.deduplicate import Deduplicated, drop_duplicates
from noria.corpus.deidentify import require_names
from noria.corpus.kept import whole_text
from noria.corpus.read import Intake, Listener, Quarantined, SourceFile, Wanted, read_file
from noria.corpus.split import SPLITS, split_of
from noria.errors import InputError
from noria.records import Labelled, Record, Source, Tagged, read_records, write_records
from noria.stages.reading import files_digest, source_files
from noria.stages.stage import Facts, plain, run_stage
from noria.stages.text import acting_replacements, say_what_was_read
from noria.task_settings import TASK_SHAPES, TaskSettings
from noria.workspace import Workspace

SHARE = 0.15  # is held out, and as much kept for the test where it has no files of its own
MOST_TEXTS, MOST_CHARACTERS = (
    2_000,
    1_000_000,
)  # that are held out: more tells little and costs time
MIN_ROWS = 10
MIN_ROWS_A_CLASS = 2  # on average; below it the labels are most likely something else
MAX_CLASSES = 1_000  # of more, logistic regression alone would take gigabytes and the whole budget
CLEANING = ("identities", "mojibake", "width", "chinese", "near_duplicates")  # as the corpus's

Example = Labelled | Tagged


def build_task_data(workspace: Workspace, name: str) -> Artifact:
    """Read, clean and split an application's records.

    Raises InputError for files that no model can be made of.
    """
    task, corpus, seed = (
        workspace.recipe.tasks[name],
        workspace.recipe.corpus,
        workspace.recipe.seed,
    )
    stage = f"{name}.data"
    workspace.watcher.begin(stage)
    require_names(corpus, personal=False)
    files = source_files(workspace, task.files)
    test_files = source_files(workspace, task.test)
    held_out_files = source_files(workspace, task.held_out)
    settings = {
        **{key: plain(task)[key] for key in ("kind", "columns", "format", "encoding", "group")},
        "out_of_scope": task.out_of_scope,
        "cleaning": {key: getattr(corpus, key) for key in CLEANING},
        **acting_replacements(corpus, personal=False),
        "names": dict(task.names),
        "measured": [SHARE, MOST_TEXTS, MOST_CHARACTERS],
        "seed": seed,
    }

    def make(folder: Path) -> Facts:
        reader = _Reader(workspace, task, folder / "quarantine.jsonl")
        found = reader.records(files)
        own = {
            split: reader.records(some)
            for split, some in (("held_out", held_out_files), ("test", test_files))
            if some
        }
        require_usable(found, task, reader.intake)
        splits, dropped = _split(found, own, task, seed, near=corpus.near_duplicates)
        for split in SPLITS:
            write_records(folder / f"{split}.jsonl", splits[split])
        report = reader.intake.report()
        say_what_was_read(workspace, report)
        for what, count in dropped.items():
            if count:
                workspace.watcher.say(f"{count:,} {what}")
        return {
            **report,
            "files": len(files) + len(test_files) + len(held_out_files),
            "identities": dict(reader.cleaner.identities),
            "dropped": dropped,
            **_label_facts(splits, task),
        }

    inputs = {"files": files_digest(files)}
    if test_files:
        inputs["test"] = files_digest(test_files)
    if held_out_files:
        inputs["held_out"] = files_digest(held_out_files)
    return run_stage(workspace, stage, make, settings=settings, inputs=inputs, result=_line)


def wanted_of(task: TaskSettings) -> Wanted:
    """How a task's files are to be read."""
    shape = TASK_SHAPES[task.kind]
    return Wanted(shape, task.format, task.columns, task.encoding, task.group)


def examples_of(data: Artifact, split: str) -> list[Example]:
    """The records of a split, in order."""
    found = read_records(data.path / f"{split}.jsonl")
    return [one for one in found if isinstance(one, Labelled | Tagged)]


class _Reader:
    """Reads files as a task says, cleans what it finds, keeps account of what it does not."""

    def __init__(self, workspace: Workspace, task: TaskSettings, quarantine: Path) -> None:
        self._watcher = workspace.watcher
        self._wanted, self._names = wanted_of(task), task.names
        self._quarantine = quarantine
        self._quarantine.touch()
        self.cleaner = Cleaner(replace(workspace.recipe.corpus, min_characters=1))
        self.intake = Intake()

    def records(self, files: Sequence[SourceFile]) -> list[Example]:
        """The clean records of files, in order."""
        kept: list[Example] = []
        for number, file in enumerate(files):
            self._watcher.progress(f"read {file.name}", number, len(files))
            kept += self._of_file(file)
        return kept

    def _of_file(self, file: SourceFile) -> Iterator[Example]:
        listener = Listener()
        for found in read_file(file, self._wanted, listener.say):
            listener.count(found)
            if isinstance(found, Quarantined):
                self._lose(found)
                continue
            self.intake.num_read[self._wanted.shape] += 1
            clean = self.cleaner.clean(self._named(found))
            if isinstance(clean, Tagged) or (isinstance(clean, Labelled) and clean.labels):
                yield clean
            else:
                reason = "no label that counts, nothing left when cleaned, or an identity at a tag"
                self._lose(Quarantined(file.name, found.source.line, "", reason))
        self.intake.hear(listener.heard)

    def _named(self, record: Record) -> Record:
        """The record with those labels or tags that count, as the recipe calls them."""
        names = self._names
        if isinstance(record, Labelled) and names:
            kept = [names[one] for one in record.labels if one in names]
            return replace(record, labels=tuple(dict.fromkeys(kept)))
        if isinstance(record, Tagged) and names:
            spans = [replace(s, tag=names[s.tag]) for s in record.spans if s.tag in names]
            return replace(record, spans=tuple(spans))
        return record

    def _lose(self, lost: Quarantined) -> None:
        self.intake.lose(lost)
        with self._quarantine.open("a", encoding="utf-8") as out:
            out.write(json.dumps(asdict(lost), ensure_ascii=False) + "\n")


def labels_of(record: Record) -> tuple[str, ...]:
    """The labels of a text, or the tags of its spans, each once."""
    if isinstance(record, Labelled):
        return tuple(dict.fromkeys(record.labels))
    return tuple(sorted({one.tag for one in record.spans})) if isinstance(record, Tagged) else ()


def require_usable(records: Sequence[Example], task: TaskSettings, intake: Intake) -> None:
    """Raise InputError for records that no model can be made of, saying what was read."""
    lost = ""
    if intake.num_quarantined:
        one = next(iter(intake.examples.values()))[0]
        place = f"{one['file']}:{one['line']}" if one["line"] else one["file"]
        lost = f" ({intake.num_quarantined:,} in quarantine, the first {place}: {one['reason']})"
    what = "a text and a label" if task.kind == "classify" else "a text and its tags"
    mend = "mend the files, or say which column is which: columns = {…} under [tasks.NAME]"
    if len(records) < MIN_ROWS:
        raise InputError(
            f"{len(records):,} usable rows{lost}", f"at least {MIN_ROWS} with {what}", mend
        )
    counts = Counter(label for one in records for label in labels_of(one))
    counts.pop(task.out_of_scope, None)
    fewest = 2 if task.kind == "classify" else 1
    if len(counts) < fewest:
        seen = f" ({', '.join(counts)})" if counts else ""
        raise InputError(
            f"{len(counts)} class{'es' if len(counts) != 1 else ''}{seen} in {len(records):,} "
            f"rows{lost}",
            f"{fewest} at least",
            "add rows of another class" if task.kind == "classify" else mend,
        )
    if len(counts) > MAX_CLASSES:
        raise InputError(
            f"{len(counts):,} classes", f"at most {MAX_CLASSES:,}", "join some, or check the column"
        )
    if task.kind == "classify" and sum(counts.values()) < MIN_ROWS_A_CLASS * len(counts):
        raise InputError(
            f"{len(counts):,} classes in {len(records):,} rows{lost}",
            f"{MIN_ROWS_A_CLASS} rows of each at least",
            "check which column holds the labels, or add rows",
        )


def _split(
    records: Sequence[Example],
    own: dict[str, list[Example]],
    task: TaskSettings,
    seed: int,
    *,
    near: bool,
) -> tuple[dict[str, list[Example]], dict[str, int]]:
    """The splits, and how many records were left out for which reason.

    `own`: the records of splits that have files of their own.
    """
    measured = [one for some in own.values() for one in some]
    distinct, dropped = _distinct(records, measured, near)
    characters = sum(len(whole_text(one)) for one in distinct)
    share = min(SHARE, MOST_TEXTS / len(distinct), MOST_CHARACTERS / max(1, characters))
    held_share, test_share = (0.0 if split in own else share for split in ("held_out", "test"))
    key = (lambda one: one.group) if task.group else whole_text
    splits: dict[str, list[Example]] = {split: [] for split in SPLITS}
    for one in distinct:
        splits[split_of(key(one), seed, held_share, test_share)].append(one)
    for split, some in own.items():
        splits[split] += some
    for split in ("held_out", "test"):
        if not splits[split] and len(splits["train"]) > 1:  # few rows: chance left one empty
            splits[split].append(splits["train"].pop())
    if task.out_of_scope:  # nothing trains on them, and the threshold is found on what is held out
        inside = [one for one in splits["train"] if task.out_of_scope not in labels_of(one)]
        splits["held_out"] += [
            one for one in splits["train"] if task.out_of_scope in labels_of(one)
        ]
        splits["train"] = inside
    _train_every_class(splits, task, key, [one for one in ("held_out", "test") if one not in own])
    sets = [MeasuredSet(split, splits[split]) for split in ("held_out", "test")]
    clean = drop_contaminated(splits["train"], sets)
    splits["train"] = clean.clean
    dropped["rows share a passage with a measured one and are not trained on"] = len(clean.dropped)
    require_trainable(splits, task)
    return splits, dropped


def _distinct(
    records: Sequence[Example], tested: Sequence[Example], near: bool
) -> tuple[list[Example], dict[str, int]]:
    """The records of `files` that are not there twice, nor in the test files.

    Nearly equal texts with other labels are not the same: that is what a classifier has to tell.
    """
    own = {id(one) for one in tested}
    found: Deduplicated[Example] = drop_duplicates(
        [*records, *tested], near, rank=lambda one: 0 if id(one) in own else 1
    )
    by_source: dict[Source, Example] = {one.source: one for one in (*tested, *records)}
    others = [
        by_source[drop.source]
        for drop in found.near
        if labels_of(by_source[drop.source]) != labels_of(by_source[drop.duplicate_of])
    ]
    restored = {one.source for one in others}
    test_sources = {one.source for one in tested}
    num_same = [drop for drop in (*found.exact, *found.near) if drop.source not in restored]
    contradictory = sum(
        labels_of(by_source[drop.source]) != labels_of(by_source[drop.duplicate_of])
        for drop in found.exact
    )
    kept = [one for one in found.kept if id(one) not in own] + [
        one for one in others if one.source not in test_sources
    ]
    return kept, {
        "rows repeat another and are left out": sum(
            drop.source not in test_sources for drop in num_same
        ),
        "of them have other labels than the text that they repeat": contradictory,
    }


def _train_every_class(
    splits: dict[str, list[Example]],
    task: TaskSettings,
    key: Callable[[Example], str],
    drawn: Sequence[str],
) -> None:
    """Move what holds a class that nothing would be trained on, with its group, into `train`.

    `drawn`: the splits that were drawn from the same files, out of which that may be taken.
    """
    trained = {label for one in splits["train"] for label in labels_of(one)} | {task.out_of_scope}
    for split in drawn:
        lone = {key(one) for one in splits[split] if set(labels_of(one)) - trained}
        splits["train"] += [one for one in splits[split] if key(one) in lone]
        splits[split] = [one for one in splits[split] if key(one) not in lone]


def require_trainable(splits: dict[str, list[Example]], task: TaskSettings) -> None:
    """Raise InputError if a split is empty, or only one class is left to train on."""
    for split in SPLITS:
        if not splits[split]:
            raise InputError(
                f"no row is left for {split}: {len(splits['train']):,} to train on",
                "some in each of three splits",
                "add rows" + (f", or groups of {task.group!r}" if task.group else ""),
            )
    classes = {label for one in splits["train"] for label in labels_of(one)}
    if task.kind == "classify" and len(classes) < 2:
        raise InputError(
            f"{len(classes)} class left to train on, since rows share passages with measured ones",
            "2 at least",
            "add rows that differ",
        )


def _label_facts(splits: dict[str, list[Example]], task: TaskSettings) -> dict[str, Any]:
    counts = {
        split: Counter(label for one in records for label in labels_of(one))
        for split, records in splits.items()
    }
    labels = sorted(set(counts["train"]) - {task.out_of_scope})
    every = [one for records in splits.values() for one in records if isinstance(one, Labelled)]
    return {
        "splits": {split: len(records) for split, records in splits.items()},
        "labels": labels,
        "many": any(len(labels_of(one)) > 1 for one in every),
        "num_by_label": {one: [counts[split][one] for split in SPLITS] for one in labels},
        "num_out_of_scope": [counts[split][task.out_of_scope] for split in SPLITS],
    }


def _line(facts: Facts) -> str:
    splits = facts["splits"]
    lost, outside = facts["quarantined"]["total"], sum(facts["num_out_of_scope"])
    return (
        f"{sum(splits.values()):,} texts, {len(facts['labels']):,} labels"
        f"{', any number a text' if facts['many'] else ''}: {splits['train']:,} to train on, "
        f"{splits['held_out']:,} held out, {splits['test']:,} for the test"
        + (f"; in quarantine {lost:,}" if lost else "")
        + (f"; out of scope {outside:,}" if outside else "")
    )
