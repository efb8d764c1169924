"""From a finished application to the live one, under the name RECIPE.NAME.

The first version goes live. A later one does, unless it is worse than the live one on the new test
with significance (that one may have been trained on some of it, which only makes it look better).
What was live once and is not any more was taken back by somebody: it does not come back by itself.
"""

from __future__ import annotations

from noria.artifacts import Artifact
from noria.errors import NoriaError
from noria.evaluate.compare import sentence
from noria.evaluate.results import Answers
from noria.recipe import TENANT
from noria.registry import Version
from noria.stages.promotion import promote_unless_held
from noria.stages.task_choice import difference_of
from noria.stages.task_data import examples_of
from noria.stages.task_examples import Examples, examples_for
from noria.stages.task_names import task_name
from noria.tasks.calibration import joined
from noria.tasks.task_model import TASKS, TaskModel, load_task_model
from noria.workspace import Workspace

ACTOR = "noria run"


def release_task(workspace: Workspace, name: str, data: Artifact, model: Artifact) -> str:
    """Register an application and make it live if it may be; returns the live weight hash."""
    registry, known = workspace.registry, task_name(workspace.recipe, name)
    weight_hash = model.facts["weight_hash"]
    path = str(model.path.relative_to(workspace.root))
    registry.register(TENANT, known, weight_hash, path, model.facts["way"], "")
    live = registry.live(TENANT, known)
    if live is None:
        registry.promote(TENANT, known, weight_hash, ACTOR, "the first version")
    elif live.weight_hash != weight_hash and not registry.was_ever_live(TENANT, known, weight_hash):
        reason = _why_not_worse(workspace, name, data, model, live)
        if reason:
            promote_unless_held(workspace, known, weight_hash, ACTOR, reason)
    now = registry.live(TENANT, known)
    assert now is not None  # one was live, or the first version is
    if now.weight_hash != weight_hash:
        workspace.watcher.say(
            f"{name}: {now.weight_hash[:12]} stays live; to serve the new one: "
            f"noria promote {weight_hash[:12]} --task {name} -r {workspace.recipe_path.name}"
        )
    return now.weight_hash


def _why_not_worse(
    workspace: Workspace, name: str, data: Artifact, model: Artifact, live: Version
) -> str:
    """Why the new version may take the live one's place; "" if it is worse."""
    try:
        models = [load_task_model(model.path), load_task_model(workspace.root / live.artifact_path)]
    except NoriaError as error:
        return f"the live version can't be loaded: {error}"
    new, old = (one.description for one in models)
    if (new.kind, new.many) != (old.kind, old.many):
        return "the live version answers another kind of question"
    task, records = workspace.recipe.tasks[name], examples_of(data, "test")
    answers = [
        answers_of(one, examples_for(task, records, one.description.labels, one.description.many))
        for one in models
    ]
    metric = TASKS[new.kind].metric(new.many)
    found = difference_of(answers[:1], answers[1:], metric, workspace.recipe.seed)
    told = sentence(metric, found, "the new version", "the live one")
    workspace.watcher.say(f"{name}: {told}")
    return told if found.better >= 0 else ""


def answers_of(model: TaskModel, examples: Examples) -> Answers:
    """What an application makes of measured examples."""
    said = model.description
    raw = [examples.raw(part) for part in model.parts]
    weights = [one.weight for one in said.parts]
    return examples.answers(joined(raw, weights, said.temperature, said.many), said.threshold)
