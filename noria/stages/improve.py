"""`noria improve`: one turn from each live model on everything that people said of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from noria.artifacts import read_artifact
from noria.errors import NoriaError, TrainingError, UnknownName
from noria.evaluate.compare import signed
from noria.improve.verdict import verdict_lines
from noria.registry.trials import STAGES
from noria.stages.improve_task import ACTOR, improve_task
from noria.stages.measuring import gap_interval
from noria.stages.promotion import release
from noria.stages.review import unsigned_review
from noria.stages.task_names import require_task, task_name
from noria.stages.turn import take_turn
from noria.stages.turn_page import write_turn_page
from noria.stages.turned import Turn
from noria.workspace import Workspace


def improve(workspace: Workspace) -> dict[str, Any]:
    """Challenge the live model with all corrections; promote what the gate lets through.

    Or begin its trial in shadow or as a canary, where the recipe asks for one.

    Raises UnknownName if nothing is live, TrainingError if there is too little feedback.
    """
    name = workspace.recipe.name
    live = workspace.registry.live(workspace.tenant, name)
    if live is None:
        raise UnknownName(
            f"{name!r} has no live model",
            "a trained one",
            f"run: noria run {workspace.recipe_argument}",
        )
    champion = read_artifact(workspace.root / live.artifact_path)
    turn = take_turn(workspace, champion, workspace.said())
    reasons = list(turn.verdict.reasons)
    missing = unsigned_review(workspace, name) if turn.verdict.promote else ""
    released = ""
    if turn.verdict.promote and not missing:
        released = release(workspace, name, turn.challenger, turn.judged, ACTOR)
    now = workspace.registry.live(workspace.tenant, name)
    page = write_turn_page(workspace, name, turn.verdict, _brought(turn))
    return {
        "promoted": released == "promoted",
        "released": released,
        "decision": turn.verdict.decision,
        "reasons": [missing] if missing else reasons,
        "challenger": turn.challenger.facts["weight_hash"],
        "control": turn.control.facts["weight_hash"],
        "curated": turn.curated.facts(),
        "live": now.weight_hash if now else "",
        "report": [*verdict_lines(turn.verdict), f"  {_brought(turn)}"],
        "page": str(page),
    }


def _brought(turn: Turn) -> str:
    """What feedback brought on held-out corrections, as a sentence."""
    found = gap_interval(turn.judged.facts["contributions"]["feedback"])
    return (
        f"Feedback brought {signed(found.value)} bits per byte of held-out corrections "
        f"({signed(found.low)} to {signed(found.high)}) over a control without it."
    )


def improve_recipe(workspace: Workspace, task: str = "") -> dict[str, Any]:
    """A turn of one application, or of the language model and of every application.

    `task`: the name of an application, or of the recipe for its language model alone; empty: all.
    Where there are several, what has too little feedback is told and does not stop the others.
    Raises what the turn raises, where there is only one or none could be tried.
    """
    recipe = workspace.recipe
    if task == recipe.name and recipe.has_text and task not in recipe.tasks:
        return improve(workspace)
    if task:
        require_task(recipe, task)
        return improve_task(workspace, task)
    if not recipe.tasks:
        return improve(workspace)
    turns: dict[str, Callable[[], dict[str, Any]]] = {
        task_name(recipe, name): partial(improve_task, workspace, name) for name in recipe.tasks
    }
    if recipe.has_text:
        turns = {recipe.name: partial(improve, workspace), **turns}
    outcomes: dict[str, dict[str, Any]] = {}
    errors: list[NoriaError] = []
    for name, turn in turns.items():
        try:
            outcomes[name] = turn()
        except (TrainingError, UnknownName) as error:
            errors.append(error)
            outcomes[name] = {"released": "", "decision": "not tried", "reasons": [str(error)]}
    if len(errors) == len(turns):
        raise errors[0]
    released = [one["released"] for one in outcomes.values() if one["released"]]
    reasons = [f"{name}: {why}" for name, one in outcomes.items() for why in one["reasons"]]
    return {
        "promoted": any(one.get("promoted") for one in outcomes.values()),
        "released": ", ".join(released),
        "reasons": reasons,
        "models": outcomes,
    }


def outcome_text(outcome: dict[str, Any]) -> str:
    """What `improve_recipe` returned, as a person reads it."""
    if "models" not in outcome:
        return "\n".join(_lines(outcome))
    return "\n".join(
        line for name, one in outcome["models"].items() for line in (f"{name}:", *_lines(one))
    )


def _lines(outcome: dict[str, Any]) -> list[str]:
    lines = list(outcome.get("report", ()))
    if not outcome["released"]:
        lines += [one for one in outcome["reasons"] if one not in (lines[0] if lines else "")]
    if outcome.get("released") in STAGES:
        lines.append(f"begun: {outcome['released']}; noria improve --watch judges it")
    live = outcome.get("live")
    return [*lines, f"live: {live[:12]}, report: {outcome['page']}"] if live else lines
