"""One turn of an application: what people said in; challenger, control, verdict out.

Challenger and control are made in the champion's own way (or ways, where it joins several), with
the same seed, the same seconds and the same number of rows; only the rows differ. The challenger
learns from the feedback and the original rows, of which at least the recipe's `replay` is; the
control from the original rows alone, some of them again where the other has feedback. What feedback
brought is challenger minus control.

What judges them is in task_judging.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from noria.artifacts import Artifact
from noria.corpus.decontaminate import MeasuredSet, drop_contaminated
from noria.improve.challenger import require_feedback
from noria.improve.curate import Curated
from noria.improve.replay import with_replay
from noria.records import Labelled, Tagged
from noria.stages.ancestors import ancestor, find_ancestor
from noria.stages.decisions import keep_decisions
from noria.stages.stage import Facts, run_stage
from noria.stages.task_choice import contender_of
from noria.stages.task_data import Example, examples_of
from noria.stages.task_judging import judge_task
from noria.stages.task_names import task_name
from noria.stages.task_ways import Splits, Training, open_splits, train_way
from noria.stages.tasks import said_by
from noria.stages.turned import Turn, conclude
from noria.tasks.task_model import TASKS, read_description, write_description
from noria.workspace import Workspace


def take_task_turn(workspace: Workspace, name: str, champion: Artifact, curated: Curated) -> Turn:
    """Train challenger and control, judge; the registry learns of the verdict.

    What is finished is re-used, so a turn that was interrupted goes on where it was. Raises
    TrainingError if there is too little feedback.
    """
    require_feedback(len(curated.train), len(curated.held_out))
    keep_decisions(workspace, champion, curated, name)
    data = ancestor(workspace, champion, f"{name}.data")
    splits = open_splits(workspace, name, data)
    original = examples_of(data, "train")
    with_feedback, without = twin_rows(workspace, splits, original, curated)
    inputs = {"champion": champion.key, "data": data.key}
    challenger = _train_twin(
        workspace,
        name,
        "challenger",
        splits,
        champion,
        with_feedback,
        {**inputs, "feedback": curated.digest},
    )
    control = _train_twin(
        workspace,
        name,
        "control",
        splits,
        champion,
        without,
        {**inputs, "num_rows": str(len(without))},
    )
    models = (champion, challenger, control)
    judged = judge_task(workspace, name, splits, models, curated)
    return conclude(workspace, task_name(workspace.recipe, name), models, judged, curated)


def twin_rows(
    workspace: Workspace, splits: Splits, original: Sequence[Example], curated: Curated
) -> tuple[list[Example], list[Example]]:
    """The rows of a challenger, and as many of its control.

    Feedback that shares a passage with what is measured on is left out of both.
    """
    measured = [
        MeasuredSet("held_out", list(splits.held_out.records)),
        MeasuredSet("test", list(splits.test.records)),
    ]
    found = [one for one in curated.train if isinstance(one, Labelled | Tagged)]
    clean = drop_contaminated(found, measured).clean
    if len(clean) < len(found):
        workspace.watcher.say(
            f"{len(found) - len(clean):,} pieces of feedback share a passage with measured rows "
            "and are not trained on"
        )
    seed = workspace.recipe.seed
    rows = with_replay(clean, list(original), workspace.recipe.improve.replay, seed)
    random = Random(seed)
    again = [random.choice(original) for _ in range(len(rows) - len(original))]
    return rows, [*original, *again]


def _train_twin(
    workspace: Workspace,
    name: str,
    role: str,
    splits: Splits,
    champion: Artifact,
    rows: Sequence[Example],
    inputs: Mapping[str, str],
) -> Artifact:
    """Train every part of the champion again on other rows, and put them together as it is."""
    description = read_description(champion.path)
    base = find_ancestor(workspace, champion, f"{name}.base")
    made = {}
    for part in description.parts:
        first = ancestor(workspace, champion, f"{name}.{part.way}")
        seconds = first.manifest.settings["seconds"]
        training = Training(f"{name}.{role}", rows, seconds, workspace.recipe.seed, inputs)
        made[part.way] = train_way(workspace, name, splits, part.way, training, base)

    task, kind = workspace.recipe.tasks[name], TASKS[description.kind]

    def make(folder: Path) -> Facts:
        found = contender_of(
            name,
            kind,
            description.way,
            [said_by(way, one) for way, one in made.items()],
            [part.weight for part in description.parts],
            splits=(splits.held_out, splits.test),
            labels=splits.labels,
            many=description.many,
        )
        threshold = splits.held_out.threshold(found.held_out, task.answered_right)
        served = replace(found.description, threshold=threshold)
        for part in served.parts:
            shutil.copytree(made[part.way].path / "model", folder / part.folder)
        write_description(folder, served)
        return {"weight_hash": served.weight_hash, "way": served.way, "num_rows": len(rows)}

    kind_of_rows = "original and feedback" if role == "challenger" else "original alone"
    return run_stage(
        workspace,
        f"{name}.{role}",
        make,
        settings={"answered_right": task.answered_right},
        inputs={**inputs, **{way: one.key for way, one in made.items()}},
        result=lambda facts: (
            f"{facts['way']} on {facts['num_rows']:,} rows, {kind_of_rows}: weights "
            f"{facts['weight_hash'][:12]}"
        ),
    )
