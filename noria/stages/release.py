"""From a trained model to the live one."""

from __future__ import annotations

from noria.artifacts import Artifact
from noria.recipe import TENANT
from noria.stages.promotion import register_as
from noria.workspace import Workspace


def release_model(workspace: Workspace, model: Artifact, compressed: Artifact | None) -> None:
    """Register the trained model; make it live if nothing is.

    A live model that people use is not replaced by a changed recipe: `noria promote` does that,
    by hand, or `noria improve`, through the gate.
    """
    registry, name = workspace.registry, workspace.recipe.name
    weight_hash, base = model.facts["weight_hash"], workspace.recipe.model.base
    origin = f"tuned from {base}" if base else "trained from scratch"
    register_as(workspace, name, model, origin)
    if compressed is not None:
        register_as(workspace, name, compressed, workspace.recipe.compress.method, weight_hash)
    live = registry.live(TENANT, name)
    if live is not None and registry.was_ever_live(TENANT, name, weight_hash):
        return
    if live is None:
        registry.promote(TENANT, name, weight_hash, "noria run", "the first version")
    elif not workspace.recipe.simulates_users:
        workspace.watcher.say(
            f"{live.weight_hash[:12]} stays live; to serve the new model: "
            f"noria promote {workspace.recipe_path.name} {weight_hash[:12]}"
        )
