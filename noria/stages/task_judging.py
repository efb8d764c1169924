"""The gate of an application's turn: everything measured, the verdict and what it rests on stored.

In: champion, challenger and control as artifacts, and what was heard. Out: an artifact with
`verdict.json`, every answer that it rests on, and their scores. The gate measures on the rows that
were held out before anybody gave feedback, and a promotion can be earned there alone: held-out
feedback speaks mostly of answers that the champion got wrong, so anything that differs from the
champion looks good on it. It can only refuse. The test is measured afterwards and decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from noria.artifacts import Artifact
from noria.baselines.table import timed
from noria.evaluate.harness import data_digest
from noria.evaluate.results import Answers, Provenance, Result, scores_of, write_result
from noria.evaluate.scores import lock_digest, write_scores
from noria.evaluate.slices import slices_of
from noria.improve.curate import Curated
from noria.improve.evidence import decide_and_keep
from noria.improve.gate import Masks
from noria.improve.verdict import Limited, verdict_to_json
from noria.recipe import GateSettings
from noria.records import Labelled, Tagged, record_texts, write_records
from noria.runtime import backend_name
from noria.stages.stage import Facts, run_stage
from noria.stages.task_choice import difference_facts, difference_of
from noria.stages.task_examples import Examples, examples_for
from noria.stages.task_release import answers_of
from noria.stages.task_ways import Splits
from noria.tasks.task_model import TASKS, TaskModel, load_task_model
from noria.workspace import Workspace

ROLES = ("champion", "challenger", "control")
NUM_TIMED = 20  # texts that champion and challenger answer in turn, to compare their latency
NUM_TRIES = 3  # for each of them
MAX_TIMED_S = 5.0
SMALL_BYTES = float(64 << 20)  # fits wherever a server fits
SHORT_S = 0.05  # half of the 0.1 s below which an answer seems instant (Nielsen 1993, chapter 5)


@dataclass(frozen=True)
class _Measured:
    """All that a gate compares: for each role the answers to each set, and what answering costs."""

    sets: Mapping[str, Examples]
    answers: Mapping[str, Mapping[str, Answers]]
    afterwards: Mapping[str, Mapping[str, Answers]]
    limits: tuple[Limited, ...]


def judge_task(
    workspace: Workspace,
    name: str,
    splits: Splits,
    models: tuple[Artifact, Artifact, Artifact],
    curated: Curated,
) -> Artifact:
    """Measure champion, challenger and control, and decide."""
    recipe, by_role = workspace.recipe, dict(zip(ROLES, models, strict=True))
    metric = TASKS[recipe.tasks[name].kind].metric(splits.data.facts["many"])
    settings = replace(recipe.gate, require=recipe.gate.of_task(name, metric))
    set_digest = data_digest(splits.held_out.records)

    def make(folder: Path) -> Facts:
        found = _measure(workspace, name, splits, by_role, curated, settings)
        reads = workspace.registry.gate_reads(set_digest)
        verdict = decide_and_keep(
            folder,
            settings=settings,
            champion=found.answers["champion"],
            challenger=found.answers["challenger"],
            control=found.answers["control"],
            reads_before=reads.num,
            passed_on=reads.passed_on,
            seed=recipe.seed,
            earning=(name,),
            slices=_slices(found, name, metric),
            limits=found.limits,
            held_out_share=recipe.improve.held_out,
        )
        text = json.dumps(verdict_to_json(verdict), indent=1, ensure_ascii=False)
        (folder / "verdict.json").write_text(text, encoding="utf-8")
        write_records(folder / "feedback_held_out.jsonl", curated.held_out)
        _write_results(workspace, folder, found, by_role, metric)
        return {
            "weight_hashes": {role: one.facts["weight_hash"] for role, one in by_role.items()},
            "metric": metric,
            "contributions": _differences(found.answers, "control", metric, recipe.seed),
            "promote": verdict.promote,
            "decision": verdict.decision,
            "reasons": list(verdict.reasons),
            "set_digest": set_digest,
            "reads_before": reads.num,
            "afterwards": {
                rival: _differences(found.afterwards, rival, metric, recipe.seed)[name]
                for rival in ("champion", "control")
            },
        }

    return run_stage(
        workspace,
        f"{name}.gate",
        make,
        settings={
            "require": list(settings.require),
            "score_margin": settings.score_margin,
            "latency": settings.latency,
            "memory": settings.memory,
            "seed": recipe.seed,
        },
        inputs={
            **{role: one.key for role, one in by_role.items()},
            "feedback": curated.digest,
        },
        result=lambda facts: f"{facts['decision']}: {'; '.join(facts['reasons'])}",
    )


def _slices(found: _Measured, name: str, metric: str) -> Masks:
    """The slices of the frozen rows; held-out feedback, as a whole, is one more."""
    frozen, heard = (found.sets[one].records for one in (name, f"{name}.feedback"))
    whole = np.ones(len(heard), dtype=np.bool_)
    return {
        f"{name}.{metric}": slices_of(frozen),
        f"{name}.feedback.{metric}": {"held-out feedback": whole},
    }


def _differences(
    answers: Mapping[str, Mapping[str, Answers]], rival: str, metric: str, seed: int
) -> dict[str, Facts]:
    """Challenger minus rival on each set."""
    ours, theirs = answers["challenger"], answers[rival]
    return {
        one: difference_facts(difference_of([ours[one]], [theirs[one]], metric, seed))
        for one in ours
    }


def _measure(
    workspace: Workspace,
    name: str,
    splits: Splits,
    by_role: Mapping[str, Artifact],
    curated: Curated,
    settings: GateSettings,
) -> _Measured:
    """Ask every model everything."""
    task, many = workspace.recipe.tasks[name], splits.data.facts["many"]
    heard = [one for one in curated.held_out if isinstance(one, Labelled | Tagged)]
    sets = {
        name: splits.held_out,
        f"{name}.feedback": examples_for(task, heard, splits.labels, many),
    }
    models, answers, afterwards = {}, {}, {}
    for number, (role, artifact) in enumerate(by_role.items()):
        workspace.watcher.progress(f"asking the {role}", number, len(by_role))
        models[role] = load_task_model(artifact.path)
        answers[role] = {one: answers_of(models[role], sets[one]) for one in sets}
        afterwards[role] = {name: answers_of(models[role], splits.test)}
    texts = [record_texts(one)[0] for one in splits.held_out.records]
    limits = _limits(models, by_role, texts, settings)
    return _Measured(sets, answers, afterwards, limits)


def _limits(
    models: Mapping[str, TaskModel],
    by_role: Mapping[str, Artifact],
    texts: Sequence[str],
    settings: GateSettings,
) -> tuple[Limited, ...]:
    """What challenger and champion cost, for each limit that the recipe sets."""
    found = []
    if settings.latency:
        champion, challenger = latencies(models["champion"], models["challenger"], texts)
        most = largest_growth(champion, settings.latency, SHORT_S)
        found.append(Limited("latency", "s", champion, challenger, most))
    if settings.memory:
        champion, challenger = (
            _num_bytes(by_role[role], models[role]) for role in ("champion", "challenger")
        )
        most = largest_growth(champion, settings.memory, SMALL_BYTES)
        found.append(Limited("size of the weights", "bytes", champion, challenger, most))
    return tuple(found)


def largest_growth(champion: float, factor: float, small: float) -> float:
    """How many times the champion's bytes or seconds a challenger may take; `small` always.

    Counted words grow with the data, and so does the time to count them: of five times as many
    rows they are five times as many, and for 1.5 MB in place of 0.3, or 10 ms in place of 2, a
    better model is not refused.
    """
    return max(factor, small / champion)


def _num_bytes(artifact: Artifact, model: TaskModel) -> float:
    """The size of the files of a model's parts."""
    folders = [artifact.path / part.folder for part in model.description.parts]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return float(sum(file.stat().st_size for file in files))


def latencies(first: TaskModel, second: TaskModel, texts: Sequence[str]) -> tuple[float, float]:
    """Seconds of one answer of each: the median over texts of the fastest time for a text.

    Asked in turn, and the fastest of a few: whatever else runs on a machine only adds to a time.
    """
    found: tuple[list[float], list[float]] = ([], [])
    for model in (first, second):
        model.predict(texts[:1])  # libraries wake up slowly
    began = perf_counter()
    for text in texts[:NUM_TIMED]:
        tries: tuple[list[float], list[float]] = ([], [])
        for _ in range(NUM_TRIES):
            for model, seconds in zip((first, second), tries, strict=True):
                seconds.append(timed(lambda one=text, m=model: m.predict([one]))[1])  # type: ignore[misc]
        for fastest, seconds in zip(found, tries, strict=True):
            fastest.append(min(seconds))
        if perf_counter() - began > MAX_TIMED_S:
            break
    return median(found[0]), median(found[1])


def _write_results(
    workspace: Workspace,
    folder: Path,
    found: _Measured,
    by_role: Mapping[str, Artifact],
    metric: str,
) -> None:
    """The answers of all three to each set, and how good they are in the main metric."""
    scores = []
    (folder / "results").mkdir()
    for role, sets in found.answers.items():
        for name, answers in sets.items():
            made_by = Provenance(
                by_role[role].facts["weight_hash"],
                lock_digest({}),
                workspace.recipe.seed,
                backend_name(),
                by_role[role].manifest.made_at,
            )
            result = Result(answers, found.sets[name].records, made_by)
            write_result(folder / "results" / f"{role}-{name}", result)
            scores += scores_of(name, result, metrics=(metric,))
    write_scores(folder / "scores.json", scores)
