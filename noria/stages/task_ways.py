"""Every way to a model of an application, trained on the same rows, each within its share of time.

In: the splits of an application. Out: an artifact for each way with its model and what it says of
the held-out and the test rows; and for a way that can't run here, why not. Nothing here compares
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from noria.artifacts import Artifact, file_digest, value_digest
from noria.baselines.interface import Baseline
from noria.baselines.table import timed
from noria.bases.catalogue import resolve_base
from noria.bases.huggingface import weight_files
from noria.bases.importing import import_encoder
from noria.errors import NoriaError
from noria.records import record_texts
from noria.stages.reading import clean_documents
from noria.stages.stage import Facts, run_stage
from noria.stages.task_data import Example, examples_of, labels_of
from noria.stages.task_examples import Examples, examples_for, model_labels, spans_in
from noria.stages.task_trainers import TRAINERS, Material
from noria.task_settings import (
    BASELINE,
    RANDOM_WAYS,
    TASK_WAYS,
    WAYS_OVER_BASE,
    TaskSettings,
)
from noria.tasks.task_model import load_part
from noria.workspace import Workspace

MEASURED = ("held_out", "test")
# Of the time that a task has; what is not taken (a way that is not tried) the others share. The
# baseline has enough to end by itself: against half a baseline a victory would say nothing.
SHARES = {
    "classify": {BASELINE: 0.15, "vectors": 0.1, "scratch": 0.25, "tuned": 0.5},
    "tag": {BASELINE: 0.3, "dictionary": 0.3, "hmm": 0.02, "scratch": 0.2, "tuned": 0.4},
}


@dataclass(frozen=True)
class Skipped:
    """A way that was not tried, and why."""

    way: str
    why: str


@dataclass(frozen=True)
class Trained:
    """The artifact of each way, for every seed: what one seed could not change is there again.

    The first training is what may be served; the others say how much the start matters.
    """

    trainings: tuple[dict[str, Artifact], ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class Splits:
    """What is measured of an application, beside its data; `labels` are its models' columns."""

    data: Artifact
    labels: tuple[str, ...]
    held_out: Examples
    test: Examples


def open_splits(workspace: Workspace, name: str, data: Artifact) -> Splits:
    """The held-out and the test examples of a task's data."""
    task, facts = workspace.recipe.tasks[name], data.facts
    labels = model_labels(task.kind, facts["labels"])
    held_out, test = (
        examples_for(task, examples_of(data, split), labels, facts["many"]) for split in MEASURED
    )
    return Splits(data, labels, held_out, test)


def train_ways(workspace: Workspace, name: str, splits: Splits) -> Trained:
    """Train every way that applies, the cheapest first. Raises what the baseline raises."""
    task = workspace.recipe.tasks[name]
    wanted = task.ways or TASK_WAYS[task.kind]
    ways = [way for way in TASK_WAYS[task.kind] if way in wanted and way in TRAINERS[task.kind]]
    skipped: list[Skipped] = []
    base: Artifact | None = None
    try:
        base = _build_base(workspace, name, task) if task.base else None
        why = "the recipe names no base for it"
    except NoriaError as error:
        why = str(error)
    if base is None:
        skipped = [Skipped(way, why) for way in ways if way in WAYS_OVER_BASE]
        ways = [way for way in ways if way not in WAYS_OVER_BASE]
    made: dict[str, Artifact] = {}
    rows = examples_of(splits.data, "train")
    shares = {way: SHARES[task.kind][way] for way in ways}
    for way in ways:
        seconds = 60 * task.minutes * shares[way] / sum(shares.values())
        try:
            training = Training(
                name, rows, seconds, workspace.recipe.seed, {"data": splits.data.key}
            )
            made[way] = train_way(workspace, name, splits, way, training, base)
        except NoriaError as error:
            if way == BASELINE:
                raise
            skipped.append(Skipped(way, str(error)))
    for one in skipped:
        workspace.watcher.say(f"{name}: {one.way} was not tried: {one.why}")
    again = []
    for number in range(1, task.seeds):
        others = {}
        for way in made.keys() & set(RANDOM_WAYS):
            first = made[way].manifest.settings
            training = Training(
                name, rows, first["seconds"], first["seed"] + number, {"data": splits.data.key}
            )
            others[way] = train_way(workspace, name, splits, way, training, base)
        again.append({**made, **others})
    return Trained((made, *again), tuple(skipped))


def _build_base(workspace: Workspace, name: str, task: TaskSettings) -> Artifact:
    """Make the task's base a model folder of ours."""
    stage = f"{name}.base"
    workspace.watcher.begin(stage)
    source = resolve_base(task.base, workspace.folder, workspace.cache)
    files = weight_files(source) if source.is_dir() else [source]
    return run_stage(
        workspace,
        stage,
        lambda folder: asdict(import_encoder(source, folder)),
        inputs={"source": value_digest([file_digest(file) for file in files])},
        result=lambda facts: (
            f"{task.base}: {facts['num_parameters']:,} parameters, weights "
            f"{facts['weight_hash'][:12]}"
        ),
    )


@dataclass(frozen=True)
class Training:
    """What a way learns from, for how long and from which seed.

    `stage`: its artifact is called after it and the way. `inputs` are what made it, beside base and
    texts.
    """

    stage: str
    rows: Sequence[Example]
    seconds: float
    seed: int
    inputs: Mapping[str, str]


def train_way(
    workspace: Workspace,
    name: str,
    splits: Splits,
    way: str,
    training: Training,
    base: Artifact | None,
) -> Artifact:
    """Train one way of the application and let it answer what is measured."""
    task, rows = workspace.recipe.tasks[name], training.rows
    settings = {"seconds": training.seconds, "seed": training.seed}
    inputs = dict(training.inputs)
    if base is not None and way in WAYS_OVER_BASE:
        inputs["base"] = base.key
    unlabelled: tuple[str, ...] = ()
    if way == "scratch" and task.unlabelled:
        documents, inputs["unlabelled"] = clean_documents(workspace, task.unlabelled)
        unlabelled = tuple(record_texts(one)[0] for one in documents)
    material = Material(
        texts=tuple(record_texts(one)[0] for one in rows),
        labels=tuple(labels_of(one) for one in rows),
        spans=tuple(spans_in(one) for one in rows),
        many=splits.data.facts["many"],
        unlabelled=unlabelled,
        base=base.path if base else None,
        seed=training.seed,
        seconds=training.seconds,
        progress=workspace.watcher.progress,
    )

    def make(folder: Path) -> Facts:
        model = folder / "model"
        model.mkdir()
        facts, train_s = timed(partial(TRAINERS[task.kind][way], material, model))
        part = load_part(task.kind, way, model, material.many)
        for split, examples in zip(MEASURED, (splits.held_out, splits.test), strict=True):
            workspace.watcher.progress(f"asking {way}", 0, 1)
            np.save(folder / f"{split}.npy", examples.raw(part).astype(np.float32))
        num_bytes = sum(one.stat().st_size for one in model.rglob("*") if one.is_file())
        hashed = {"weight_hash": part.weight_hash}
        return {**facts, **hashed, "train_s": train_s, "num_bytes": num_bytes}

    return run_stage(
        workspace,
        f"{training.stage}.{way}",
        make,
        settings=settings,
        inputs=inputs,
        result=lambda facts: (
            f"{facts['num_rows']:,} of {len(rows):,} rows, {facts['train_s']:.1f} s of training, "
            f"{facts['num_bytes'] / 1e6:.1f} MB, weights {facts['weight_hash'][:12]}"
        ),
    )


def load_way(task: TaskSettings, way: str, made: Artifact, many: bool) -> Baseline:
    """The model that a way made."""
    return load_part(task.kind, way, made.path / "model", many)
