"""Applications for people and programs: one call in Python, or a whole file answered row by row.

    from noria.ask import open_task

    intent = open_task("noria.toml", "intent")
    print(intent("where is my card").labels)

In: a recipe that was run, and texts. Out: answers, as values or as JSON Lines.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from noria.artifacts import file_digest
from noria.corpus.read import Quarantined, SourceFile, Wanted, read_file
from noria.errors import InputError, UsageError
from noria.records import Record, record_texts
from noria.stages.task_names import task_version
from noria.tasks.task_model import Answer, TaskModel, load_task_model
from noria.workspace import Workspace, open_workspace

BATCH_TEXTS = 64
MAX_EXAMPLES = 3  # of rows that can't be read


def load_task(workspace: Workspace, name: str, prefix: str = "") -> TaskModel:
    """Load an application of a workspace. Raises as `task_version` and `load_task_model` do."""
    version = task_version(workspace.registry, workspace.recipe, name, prefix)
    return load_task_model(workspace.root / version.artifact_path)


@final
class Ask:
    """A loaded application: call it with a text, or with several."""

    def __init__(self, model: TaskModel) -> None:
        self.model = model

    @property
    def weight_hash(self) -> str:
        """The weights that answer."""
        return self.model.weight_hash

    def __call__(self, text: str) -> Any:
        """Answer one text. Raises UsageError for an empty one."""
        return self.model.predict([text])[0]

    def each(self, texts: Sequence[str]) -> Sequence[Answer]:
        """Answer several, in order."""
        return self.model.predict(texts)


def open_task(recipe: str | Path, name: str, store: str | Path | None = None) -> Ask:
    """The live model of a recipe's application, loaded: `open_task("noria.toml", "intent")`.

    Raises InputError without a recipe, UnknownName if nothing of that name is live.
    """
    root = Path(store) if store is not None else None
    with open_workspace(Path(recipe), root, _Nobody()) as workspace:
        return Ask(load_task(workspace, name))


@final
class _Nobody:
    """Nobody looks on."""

    def begin(self, stage: str) -> None:
        """Say nothing."""

    def progress(self, text: str, done: float, total: float) -> None:
        """Say nothing."""

    def say(self, text: str) -> None:
        """Say nothing."""

    def end(self, stage: str, result: str, elapsed_s: float, reused: bool) -> None:
        """Say nothing."""


@dataclass
class Answered:
    """What became of a file: how many rows were answered, and which could not be."""

    num_answered: int = 0
    num_unread: int = 0
    examples: list[str] = field(default_factory=list)

    def lose(self, lost: Quarantined) -> None:
        """Count a row that can't be read."""
        self.num_unread += 1
        if len(self.examples) < MAX_EXAMPLES:
            place = f"{lost.file}:{lost.line}" if lost.line else lost.file
            self.examples.append(f"{place}: {lost.reason}")


def answer_file(
    model: TaskModel,
    file: Path,
    out: Path,
    progress: Callable[[str, float, float], None],
    columns: dict[str, str] | None = None,
) -> Answered:
    """Answer every text of a file into JSON Lines: the file's line, the text, and the answer.

    A text file has a text a line, a table a row; `columns` names the column of the text. What can't
    be read has its line too, with `error`. `out` is written whole or not at all: an interrupted run
    leaves none. Raises UsageError if it is there already, InputError if nothing can be read.
    """
    if out.exists():
        raise UsageError(f"{out} exists", "a new file", "choose another with --out, or remove it")
    if not file.is_file():
        raise InputError(f"{file} is no file", "a file of texts", "check the path")
    source = SourceFile(file.name, file, file_digest(file))
    size = file.stat().st_size
    told = Answered()
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as writer:
            for batch in _batches(source, columns or {}):
                for row in _answered(model, batch, told):
                    writer.write(json.dumps(row, ensure_ascii=False) + "\n")
                progress(f"{told.num_answered:,} answered", _place(batch, size), size)
            writer.flush()
            os.fsync(writer.fileno())
        if not told.num_answered:
            raise InputError(
                f"no text of {file} can be read: {'; '.join(told.examples)}",
                "a text a line, or a table with a column of texts",
                "name the column with --column",
            )
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)
    return told


_Found = Record | Quarantined


def _batches(file: SourceFile, columns: dict[str, str]) -> Iterator[list[_Found]]:
    """The rows of a file, some at a time."""
    wanted = Wanted("document", columns=columns, whole=True)
    batch: list[_Found] = []
    for found in read_file(file, wanted, lambda shape, how: None):
        batch.append(found)
        if len(batch) >= BATCH_TEXTS:
            yield batch
            batch = []
    if batch:
        yield batch


def _answered(model: TaskModel, batch: list[_Found], told: Answered) -> Iterator[dict[str, Any]]:
    """A row for each that was found, in order."""
    texts = [record_texts(one)[0] for one in batch if not isinstance(one, Quarantined)]
    answers = iter(model.predict(texts) if texts else ())
    for one in batch:
        if isinstance(one, Quarantined):
            told.lose(one)
            yield {"line": one.line, "error": one.reason}
        else:
            told.num_answered += 1
            text = record_texts(one)[0]
            yield {"line": one.source.line, "text": text, **next(answers).as_json()}


def _place(batch: list[_Found], size: int) -> float:
    """How many bytes of the file lie behind the batch."""
    ends = [one.source.byte_end for one in batch if not isinstance(one, Quarantined)]
    return min(float(max(ends, default=0)), float(size))
