"""`noria improve`: one turn from the live model on everything that people said."""

from __future__ import annotations

from typing import Any

from noria.artifacts import read_artifact
from noria.errors import UnknownName
from noria.recipe import TENANT
from noria.stages.turn import release_if_earned, take_turn
from noria.workspace import Workspace


def improve(workspace: Workspace) -> dict[str, Any]:
    """Challenge the live model with all corrections; promote what the gate lets through.

    Or begin its trial in shadow or as a canary, where the recipe asks for one.

    Raises UnknownName if nothing is live, TrainingError if there is too little feedback.
    """
    name = workspace.recipe.name
    live = workspace.registry.live(TENANT, name)
    if live is None:
        raise UnknownName(
            f"{name!r} has no live model",
            "a trained one",
            f"run: noria run {workspace.recipe_path}",
        )
    champion = read_artifact(workspace.root / live.artifact_path)
    turn = take_turn(workspace, champion, workspace.feedback.corrections(TENANT))
    released = release_if_earned(workspace, turn, "noria improve")
    now = workspace.registry.live(TENANT, name)
    return {
        "promoted": released == "promoted",
        "released": released,
        "reasons": list(turn.verdict.reasons),
        "challenger": turn.challenger.facts["weight_hash"],
        "control": turn.control.facts["weight_hash"],
        "curated": turn.curated.facts(),
        "live": now.weight_hash if now else "",
    }
