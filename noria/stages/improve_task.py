"""`noria improve` of an application: one turn from its live model on all that people said."""

from __future__ import annotations

from typing import Any

from noria.artifacts import read_artifact
from noria.evaluate.compare import signed
from noria.improve.verdict import verdict_lines
from noria.stages.promotion import release
from noria.stages.review import unsigned_review
from noria.stages.task_feedback import curate_task
from noria.stages.task_names import task_name, task_version
from noria.stages.task_turn import take_task_turn
from noria.stages.turn_page import write_turn_page
from noria.stages.turned import Turn
from noria.workspace import Workspace

ACTOR = "noria improve"


def improve_task(workspace: Workspace, name: str) -> dict[str, Any]:
    """Challenge the live model of an application; promote what the gate lets through.

    Raises UnknownName if it has no live model, TrainingError if there is too little feedback.
    """
    known = task_name(workspace.recipe, name)
    live = task_version(workspace.registry, workspace.recipe, name, tenant=workspace.tenant)
    champion = read_artifact(workspace.root / live.artifact_path)
    curated = curate_task(workspace, name)
    turn = take_task_turn(workspace, name, champion, curated)
    reasons = list(turn.verdict.reasons)
    missing = unsigned_review(workspace, known) if turn.verdict.promote else ""
    released = ""
    if missing:
        reasons = [missing]
    elif turn.verdict.promote:
        released = release(workspace, known, turn.challenger, turn.judged, ACTOR)
    now = task_version(workspace.registry, workspace.recipe, name, tenant=workspace.tenant)
    page = write_turn_page(workspace, known, turn.verdict, _brought(turn, name), name)
    return {
        **_told(turn, name),
        "promoted": released == "promoted",
        "released": released,
        "reasons": reasons,
        "live": now.weight_hash,
        "page": str(page),
    }


def _brought(turn: Turn, name: str) -> str:
    """What feedback brought, as a sentence."""
    found = turn.judged.facts["contributions"][name]
    return (
        f"Feedback brought {signed(found['value'])} {turn.judged.facts['metric'].replace('_', ' ')}"
        f" ({signed(found['low'])} to {signed(found['high'])}) over a control without it."
    )


def _told(turn: Turn, name: str) -> dict[str, Any]:
    """What a turn came to, as JSON values."""
    return {
        "decision": turn.verdict.decision,
        "challenger": turn.challenger.facts["weight_hash"],
        "control": turn.control.facts["weight_hash"],
        "curated": turn.curated.facts(),
        "contribution": turn.judged.facts["contributions"][name],
        "metric": turn.judged.facts["metric"],
        "report": [*verdict_lines(turn.verdict), f"  {_brought(turn, name)}"],
    }
