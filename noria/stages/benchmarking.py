"""`noria evaluate`: a version on tasks of lm-evaluation-harness, and how fast it answers."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from noria.artifacts import Artifact, read_artifact
from noria.evaluate.benchmark import Task, load_task, run_task
from noria.evaluate.scores import Score, lock_digest, read_scores, require_weights, write_scores
from noria.generate.loaded import load_language_model
from noria.runtime import backend_name
from noria.stages.stage import Facts
from noria.workspace import Workspace

SCORES_FILE = "scores.json"


def evaluate_tasks(
    workspace: Workspace, prefix: str, paths: Sequence[Path], limit: int | None
) -> list[Score]:
    """Every metric of the tasks on the live version, or on that whose weight hash begins so.

    What was measured before is read again: the same weights, files and examples. Raises UnknownName
    for no such version, and as `load_task` does.
    """
    found = workspace.version(prefix)
    model = read_artifact(workspace.root / found.artifact_path)
    tasks = [load_task(path) for path in paths]
    scores = []
    for path, task in zip(paths, tasks, strict=True):
        measured = _measured(workspace, model, found.weight_hash, path, task, limit)
        scores += read_scores(measured.path / SCORES_FILE)
    require_weights(scores, {found.weight_hash})
    return scores


def _measured(
    workspace: Workspace,
    model: Artifact,
    weight_hash: str,
    path: Path,
    task: Task,
    limit: int | None,
) -> Artifact:
    watch, seed = workspace.watcher, workspace.recipe.seed

    def make(folder: Path) -> Facts:
        loaded = load_language_model(model.path)
        measured = run_task(
            task, loaded, limit, seed, lambda done, total: watch.progress(task.name, done, total)
        )
        scores = [
            Score(
                metric=f"{task.name}.{one.metric}",
                value=one.value.value,
                low=one.value.low,
                high=one.value.high,
                num_records=one.num_examples,
                num_tokens=0,
                weight_hash=loaded.weight_hash,
                data_digest=task.data_digest,
                seed=seed,
                backend=backend_name(),
                measured_at=time.time(),
                lock_digest=lock_digest(model.manifest.lock),
                confidence=0.95,
                interval=one.interval,
            )
            for one in measured
        ]
        write_scores(folder / SCORES_FILE, scores)
        return {"weight_hash": weight_hash, "task": task.name}

    settings: dict[str, Any] = {"seed": seed, "limit": limit, "harness": version("lm-eval")}
    inputs = {
        "model": model.key,
        "task": _files_digest(path),
        "examples": task.data_digest,
        "backend": backend_name(),
    }
    watch.begin("benchmark")
    return workspace.store.build("benchmark", make, settings=settings, inputs=inputs)


def _files_digest(path: Path) -> str:
    """Of the task's file and of whatever beside it the harness may read: YAML and Python."""
    digest = hashlib.sha256(path.name.encode("utf-8"))
    for one in sorted(path.resolve().parent.iterdir()):
        if one.suffix in (".yaml", ".yml", ".py"):
            digest.update(f"\0{one.name}\0".encode() + one.read_bytes())
    return digest.hexdigest()
