"""An application from its labelled files to what is live: data, ways, choice, test, registration.

In: `[tasks.NAME]` of a recipe. Out: artifacts `NAME.data`, `NAME.WAY` for each way, and
`NAME.model`, which holds what is served, how good it is and what every way made of the test;
registered as RECIPE.NAME, and live.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np

from noria.artifacts import Artifact
from noria.baselines.interface import Baseline
from noria.baselines.table import timed
from noria.evaluate.results import Answers, Provenance, Result, scores_of, write_result
from noria.evaluate.scores import Score, lock_digest, write_scores
from noria.records import record_texts
from noria.runtime import backend_name
from noria.stages.stage import Facts, run_stage
from noria.stages.task_choice import (
    JOINED,
    Contender,
    Said,
    Verdict,
    choose,
    contenders_of,
    difference_facts,
    difference_of,
    value_of,
)
from noria.stages.task_data import build_task_data
from noria.stages.task_release import release_task
from noria.stages.task_ways import (
    MEASURED,
    Splits,
    Trained,
    load_way,
    open_splits,
    train_ways,
)
from noria.task_settings import BASELINE
from noria.tasks.task_model import TASKS, TaskModel, assembled, write_description
from noria.workspace import Workspace

NUM_TIMED = 100  # answers whose latency is measured, one text at a time
MAX_TIMED_S = 5.0  # of one way
SERVED = "served"  # the folder of results of what is served, beside those of the ways


@dataclass(frozen=True)
class TaskMade:
    """The artifacts of an application."""

    name: str
    data: Artifact
    model: Artifact
    live_hash: str


def build_task(workspace: Workspace, name: str) -> TaskMade:
    """Make an application true: only what changed is done again. Raises NoriaError."""
    data = build_task_data(workspace, name)
    splits = open_splits(workspace, name, data)
    model = _choose(workspace, name, splits, train_ways(workspace, name, splits))
    return TaskMade(name, data, model, release_task(workspace, name, data, model))


def _choose(
    workspace: Workspace,
    name: str,
    splits: Splits,
    trained: Trained,
) -> Artifact:
    """Calibrate, choose, test, time; the artifact of what is served."""
    task, seed = workspace.recipe.tasks[name], workspace.recipe.seed
    made, skipped = trained.trainings[0], [asdict(one) for one in trained.skipped]

    def make(folder: Path) -> Facts:
        kind, facts = TASKS[task.kind], splits.data.facts
        metric = kind.metric(facts["many"])
        every = [
            contenders_of(
                name,
                kind,
                [said_by(way, one) for way, one in training.items()],
                (splits.held_out, splits.test),
                splits.labels,
                facts["many"],
                JOINED in (task.ways or kind.ways),
            )
            for training in trained.trainings
        ]
        contenders = every[0]
        verdict = choose(contenders, splits.held_out, metric, task.answered_right, seed)
        parts = {way: load_way(task, way, one, facts["many"]) for way, one in made.items()}
        rows = _rows(every, verdict, parts, made, splits, metric, seed)
        served = verdict.served.description
        for part in served.parts:
            shutil.copytree(made[part.way].path / "model", folder / part.folder)
        write_description(folder, served)
        scores = _write_results(folder, every, verdict, splits, seed)
        for sentence in verdict.why:
            workspace.watcher.say(f"{name}: {sentence}")
        return {
            "weight_hash": served.weight_hash,
            "way": served.way,
            "metric": metric,
            "threshold": served.threshold,
            "temperature": served.temperature,
            "why": list(verdict.why),
            "skipped": skipped,
            "rows": rows,
            "scores": {one.metric: one.value for one in scores if "," not in one.metric},
        }

    return run_stage(
        workspace,
        f"{name}.model",
        make,
        settings={
            "out_of_scope": task.out_of_scope,
            "answered_right": task.answered_right,
            "joined": JOINED in (task.ways or TASKS[task.kind].ways),
            "skipped": skipped,
            "seed": seed,
        },
        inputs={
            "data": splits.data.key,
            **{way: one.key for way, one in made.items()},
            **{
                f"{way}.seed{seed + number}": one.key
                for number, training in enumerate(trained.trainings)
                for way, one in training.items()
                if one is not made[way]
            },
        },
        result=_line,
    )


def said_by(way: str, made: Artifact) -> Said:
    """What the model that a way made says of what is measured."""
    answers = (np.load(made.path / f"{split}.npy").astype(np.float64) for split in MEASURED)
    return Said(way, made.facts["weight_hash"], *answers)


def _runs(every: Sequence[Sequence[Contender]], way: str) -> list[Answers]:
    """What the different weights of one way answered, one for each training that changed them."""
    found = [one for contenders in every for one in contenders if one.way == way]
    return list({one.description.weight_hash: one.answers for one in found}.values())


def _rows(
    every: Sequence[Sequence[Contender]],
    verdict: Verdict,
    parts: Mapping[str, Baseline],
    made: Mapping[str, Artifact],
    splits: Splits,
    metric: str,
    seed: int,
) -> list[dict[str, Any]]:
    """What each way is worth and what it costs, side by side, as JSON values.

    Worth: of all its trainings; cost, and what it is worth on held-out text: of the first.
    """
    baseline = _runs(every, BASELINE)
    rows = []
    for one in every[0]:
        runs = _runs(every, one.way)
        ways = [part.way for part in one.description.parts]
        model = assembled(one.description, [parts[way] for way in ways])
        latency_s = _latencies(model, [record_texts(r)[0] for r in splits.test.records])
        value = value_of(runs, metric, seed)
        against = None
        if one.way != BASELINE:
            against = difference_facts(difference_of(runs, baseline, metric, seed))
        rows.append(
            {
                "way": one.way,
                "parts": ways,
                "served": one.way == verdict.served.way,
                "weight_hash": one.description.weight_hash,
                "held_out": one.value,
                **asdict(value),
                "num_trainings": len(runs),
                "num_records": len(splits.test.records),
                "against_baseline": against,
                "train_s": sum(made[way].facts["train_s"] for way in ways),
                "latency_s": median(latency_s),
                "latency_p95_s": (
                    quantiles(latency_s, n=20)[-1] if len(latency_s) > 1 else latency_s[0]
                ),
                "num_bytes": sum(made[way].facts["num_bytes"] for way in ways),
                "peak_memory_bytes": max(made[way].facts["peak_memory_bytes"] for way in ways),
            }
        )
    return rows


def _latencies(model: TaskModel, texts: Sequence[str]) -> list[float]:
    """Seconds of single answers; the first is asked once before, since libraries wake up slowly."""
    model.predict(texts[:1])
    found: list[float] = []
    for text in texts[:NUM_TIMED]:
        found.append(timed(lambda one=text: model.predict([one]))[1])  # type: ignore[misc]
        if sum(found) > MAX_TIMED_S:
            break
    return found


def _write_results(
    folder: Path,
    every: Sequence[Sequence[Contender]],
    verdict: Verdict,
    splits: Splits,
    seed: int,
) -> list[Score]:
    """The test's answers of every way and of what is served, and the scores of the latter."""
    results = folder / "results"
    results.mkdir()

    def written(name: str, contender: Contender, answers: Any, trained_with: int = seed) -> Result:
        weight_hash, at = contender.description.weight_hash, time.time()
        made_by = Provenance(weight_hash, lock_digest({}), trained_with, backend_name(), at)
        result = Result(answers, splits.test.records, made_by)
        write_result(results / name, result)
        return result

    known = set()
    for number, contenders in enumerate(every):
        for one in contenders:
            if one.description.weight_hash not in known:
                name = f"{one.way}.seed{seed + number}" if number else one.way
                written(name, one, one.answers, seed + number)
                known.add(one.description.weight_hash)
    served = verdict.served
    answers = splits.test.answers(served.test, served.description.threshold)
    result = written(SERVED, served, answers)
    scores = scores_of(served.description.name, result)
    write_scores(folder / "scores.json", scores)
    return scores


def _line(facts: Facts) -> str:
    row = next(one for one in facts["rows"] if one["served"])
    metric = facts["metric"].replace("_", " ")
    return (
        f"{facts['way']}: {metric} {row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f}) on "
        f"the test, {row['latency_s'] * 1e3:.1f} ms a text, weights {facts['weight_hash'][:12]}"
    )
