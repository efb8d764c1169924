"""Every way to a model of an application, trained on the same rows, each within its share of time.

In: the splits of an application. Out: an artifact for each way with its model and what it says of
the held-out and the test rows; and for a way that can't run here, why not. A way is a function that
writes a folder which `noria.tasks.task_model.load_part` reads back; nothing here compares them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from noria.artifacts import Artifact
from noria.baselines.crf import CrfPlan, train_crf
from noria.baselines.hmm import train_hmm
from noria.baselines.interface import Baseline
from noria.baselines.table import timed
from noria.baselines.tfidf import train_tfidf
from noria.baselines.tfidf_many import train_tfidf_many
from noria.errors import NoriaError
from noria.records import Span, record_texts
from noria.stages.stage import Facts, run_stage
from noria.stages.task_data import examples_of, labels_of
from noria.stages.task_examples import Examples, examples_for, model_labels, spans_in
from noria.task_settings import BASELINE, TASK_WAYS, WAYS_OVER_BASE
from noria.tasks.bio import tags_of
from noria.tasks.tag import passages_of
from noria.tasks.task_model import load_part
from noria.workspace import Workspace

MEASURED = ("held_out", "test")
# Of the time that a task has; what is not taken (a way that is not tried) the others share.
SHARES = {BASELINE: 0.1, "hmm": 0.05, "vectors": 0.1, "scratch": 0.3, "tuned": 0.45}
# Of the classical way, on one core, for a character of text: its features, and its fit for a class.
FEATURE_S, FIT_S_A_CLASS = 2e-5, 6e-7
CRF_CHARACTERS_A_SECOND = 60_000  # of which some twenty iterations are possible

Progress = Callable[[str, float, float], None]


@dataclass(frozen=True)
class Material:
    """What a way learns from: texts with their labels (or tags), and the spans of these."""

    texts: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    spans: tuple[tuple[Span, ...], ...]
    many: bool
    seed: int
    seconds: float
    progress: Progress


@dataclass(frozen=True)
class Skipped:
    """A way that was not tried, and why."""

    way: str
    why: str


@dataclass(frozen=True)
class Splits:
    """What is measured of an application, beside its data."""

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


def train_ways(
    workspace: Workspace, name: str, splits: Splits
) -> tuple[dict[str, Artifact], list[Skipped]]:
    """Train every way that applies, the cheapest first. Raises what the baseline raises."""
    task = workspace.recipe.tasks[name]
    wanted = [way for way in TASK_WAYS[task.kind] if way in (task.ways or TASK_WAYS[task.kind])]
    made: dict[str, Artifact] = {}
    skipped: list[Skipped] = []
    tried = []
    for way in wanted:
        if way in WAYS_OVER_BASE and not task.base:
            skipped.append(Skipped(way, "the recipe names no base for this task"))
        elif way in _TRAINERS[task.kind]:
            tried.append(way)
    for way in tried:
        seconds = 60 * task.minutes * SHARES[way] / sum(SHARES[one] for one in tried)
        try:
            made[way] = train_way(workspace, name, splits, way, seconds)
        except NoriaError as error:
            if way == BASELINE:
                raise
            skipped.append(Skipped(way, str(error)))
    for one in skipped:
        workspace.watcher.say(f"{name}: {one.way} was not tried: {one.why}")
    return made, skipped


def train_way(
    workspace: Workspace, name: str, splits: Splits, way: str, seconds: float
) -> Artifact:
    """Train one way and let it answer what is measured."""
    task, data = workspace.recipe.tasks[name], splits.data
    rows = examples_of(data, "train")
    material = Material(
        tuple(record_texts(one)[0] for one in rows),
        tuple(labels_of(one) for one in rows),
        tuple(spans_in(one) for one in rows),
        data.facts["many"],
        workspace.recipe.seed,
        seconds,
        workspace.watcher.progress,
    )

    def make(folder: Path) -> Facts:
        model = folder / "model"
        model.mkdir()
        facts, train_s = timed(partial(_TRAINERS[task.kind][way], material, model))
        part = load_part(task.kind, way, model, material.many)
        for split, examples in zip(MEASURED, (splits.held_out, splits.test), strict=True):
            workspace.watcher.progress(f"asking {way}", 0, 1)
            np.save(folder / f"{split}.npy", examples.raw(part).astype(np.float32))
        return {
            **facts,
            "train_s": train_s,
            "weight_hash": part.weight_hash,
            "num_bytes": sum(one.stat().st_size for one in model.rglob("*") if one.is_file()),
        }

    return run_stage(
        workspace,
        f"{name}.{way}",
        make,
        settings={"seconds": seconds, "seed": material.seed},
        inputs={"data": data.key},
        result=lambda facts: (
            f"{facts['num_rows']:,} of {len(rows):,} rows, {facts['num_bytes'] / 1e6:.1f} MB, "
            f"weights {facts['weight_hash'][:12]}"
        ),
    )


def load_way(task: TaskSettings, way: str, made: Artifact, many: bool) -> Baseline:
    """The model that a way made."""
    return load_part(task.kind, way, made.path / "model", many)


def _classical(material: Material, out: Path) -> dict[str, Any]:
    """TF-IDF with logistic regression, on as many rows as the time allows."""
    num_classes = len({label for one in material.labels for label in one})
    chosen = within(material, 1 / (FEATURE_S + FIT_S_A_CLASS * num_classes))
    texts = [material.texts[place] for place in chosen]
    labels = [material.labels[place] for place in chosen]
    if material.many:
        train_tfidf_many(texts, labels).save(out)
    else:
        train_tfidf(texts, [one[0] for one in labels]).save(out)
    return {"num_rows": len(chosen)}


def within(material: Material, characters_a_second: float) -> list[int]:
    """The places of the rows that fit into the time, all of them if they do; each class stays.

    Which ones, only their texts decide; of every label one row is among them.
    """
    allowed = material.seconds * characters_a_second
    sizes = [len(text) for text in material.texts]
    if sum(sizes) <= allowed:
        return list(range(len(sizes)))
    order = sorted(range(len(sizes)), key=lambda place: _digest(material.texts[place]))
    seen: set[str] = set()
    first = []
    for place in order:
        if not seen.issuperset(material.labels[place]):
            seen.update(material.labels[place])
            first.append(place)
    chosen, used = set(first), sum(sizes[place] for place in first)
    for place in order:
        if place not in chosen and used + sizes[place] <= allowed:
            chosen.add(place)
            used += sizes[place]
    return sorted(chosen)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8")).digest()


def _sequences(material: Material, chosen: Sequence[int]) -> list[tuple[list[str], list[str]]]:
    """The passages of texts as tokens with their BIO tags."""
    found = []
    for place in chosen:
        some = passages_of(material.texts[place])
        tokens = [token for one in some for token in one.tokens]
        tags, start = tags_of(tokens, material.spans[place]).tags, 0
        for one in some:
            end = start + len(one.tokens)
            found.append((one.words, list(tags[start:end])))
            start = end
    return found


def _crf(material: Material, out: Path) -> dict[str, Any]:
    """A conditional random field over words and their shapes."""
    chosen = within(material, CRF_CHARACTERS_A_SECOND)
    plan = CrfPlan(seconds=material.seconds)
    train_crf(_sequences(material, chosen), plan).save(out)
    return {"num_rows": len(chosen)}


def _hmm(material: Material, out: Path) -> dict[str, Any]:
    """Tags that follow tags, and the words that each has; counted, so no row is left out."""
    every = range(len(material.texts))
    train_hmm(_sequences(material, every)).save(out)
    return {"num_rows": len(every)}


_Trainer = Callable[[Material, Path], dict[str, Any]]
_TRAINERS: Mapping[str, Mapping[str, _Trainer]] = {
    "classify": {BASELINE: _classical},
    "tag": {BASELINE: _crf, "hmm": _hmm},
}
