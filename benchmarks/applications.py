"""What every way to an application is worth on files of your own, as a Markdown table.

    python benchmarks/applications.py RECIPE [RECIPE …] [--seeds 3]
    python benchmarks/applications.py RECIPE --per-class 8,16,32,64

Each `[tasks.NAME]` of the recipes is made as `noria run` makes it, in the same store, and each way
is told with its interval, the paired difference to the baseline, and its cost. `--per-class`: of
the training rows of a classifier only so many of each class, on the same test.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from noria.cli.screen import Silent
from noria.evaluate.compare import signed
from noria.recipe_file import load_recipe
from noria.records import Labelled, content_text
from noria.runtime import machine_name
from noria.stages.task_data import build_task_data, examples_of
from noria.stages.tasks import TaskMade, build_task
from noria.task_settings import TaskSettings
from noria.workspace import Workspace, open_workspace

HEADER = "| set | way | metric | 95% interval | minus the baseline | trainings | training s | ms |"
VERDICTS = {1: "better", -1: "worse", 0: "no difference seen"}


def with_task(recipe: Path, name: str, store: Path | None, **changes: object) -> Workspace:
    """The workspace of a recipe whose task has other settings than the file says."""
    workspace = open_workspace(recipe, store, Silent())
    task = replace(workspace.recipe.tasks[name], **changes)  # type: ignore[arg-type]
    workspace.recipe = replace(workspace.recipe, tasks={name: task})
    return workspace


def told(title: str, made: TaskMade) -> Iterator[str]:
    """A line for each way; the one that is served has a star."""
    for row in made.model.facts["rows"]:
        against, difference = row["against_baseline"], "–"
        if against:
            ends = f"{signed(against['low'])} to {signed(against['high'])}"
            difference = f"{signed(against['value'])} ({ends}), {VERDICTS[against['better']]}"
        yield (
            f"| {title} | {row['way']}{'*' if row['served'] else ''} | {row['value']:.3f} | "
            f"{row['low']:.3f} to {row['high']:.3f} | {difference} | {row['num_trainings']} | "
            f"{row['train_s']:.0f} | {row['latency_s'] * 1e3:.1f} |"
        )


def few(workspace: Workspace, name: str, num_a_class: int, folder: Path) -> TaskSettings:
    """The task's settings over files with so many rows a class, and the test as it is."""
    data = build_task_data(workspace, name)
    by_class: dict[str, list[Labelled]] = defaultdict(list)
    for one in examples_of(data, "train"):
        assert isinstance(one, Labelled)
        by_class[one.labels[0]].append(one)
    chosen = [one for rows in by_class.values() for one in sorted(rows, key=_digest)[:num_a_class]]
    tested = [one for one in examples_of(data, "test") if isinstance(one, Labelled)]
    for file, rows in (("rows", chosen), ("test", tested)):
        lines = [
            json.dumps({"text": content_text(one.content), "label": one.labels[0]}) for one in rows
        ]
        (folder / f"{file}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return replace(
        workspace.recipe.tasks[name],
        files=(str(folder / "rows.jsonl"),),
        test=(str(folder / "test.jsonl"),),
        columns={"text": "text", "labels": "label"},
    )


def _digest(row: Labelled) -> bytes:
    return hashlib.sha256(content_text(row.content).encode()).digest()


def main() -> None:
    """Run, and print the table."""
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    options.add_argument("recipes", nargs="+", type=Path)
    options.add_argument("--seeds", type=int, default=1)
    options.add_argument("--per-class", default="")
    asked = options.parse_args()
    print(f"{HEADER}\n|{' --- |' * 8}", flush=True)
    for recipe in asked.recipes:
        for name in load_recipe(recipe).tasks:
            title = f"{recipe.stem}.{name}"
            if not asked.per_class:
                with with_task(recipe, name, None, seeds=asked.seeds) as workspace:
                    made = build_task(workspace, name)
                print("\n".join(told(title, made)), flush=True)
            for num in map(int, filter(None, asked.per_class.split(","))):
                with tempfile.TemporaryDirectory() as folder:
                    with open_workspace(recipe, None, Silent()) as workspace:
                        task = few(workspace, name, num, Path(folder))
                    fields = {key: getattr(task, key) for key in ("files", "test", "columns")}
                    store = Path(folder) / "store"
                    with with_task(recipe, name, store, seeds=asked.seeds, **fields) as workspace:
                        made = build_task(workspace, name)
                    print("\n".join(told(f"{title}, {num} a class", made)), flush=True)
    print(json.dumps({"name": "applications", "machine": machine_name()}))


if __name__ == "__main__":
    main()
