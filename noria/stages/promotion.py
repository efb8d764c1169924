"""From an artifact that was judged to the registry: made known, made live, if it may be.

In: artifacts of a turn. Out: entries of the registry. Nothing is measured here.
"""

from __future__ import annotations

from noria.artifacts import Artifact
from noria.recipe import TENANT
from noria.workspace import Workspace


def register_as(
    workspace: Workspace, name: str, artifact: Artifact, origin: str, parent: str
) -> None:
    """Make a folder known under the name of the language model or of an application."""
    path = str(artifact.path.relative_to(workspace.root))
    workspace.registry.register(TENANT, name, artifact.facts["weight_hash"], path, origin, parent)


def go_live(
    workspace: Workspace, name: str, challenger: Artifact, judged: Artifact, actor: str
) -> bool:
    """Make a challenger live that earned it, unless it once was; True if it is live now."""
    weight_hash = challenger.facts["weight_hash"]
    if not workspace.registry.was_ever_live(TENANT, name, weight_hash):
        workspace.registry.promote(
            TENANT, name, weight_hash, actor, "the gate said yes", judged.key
        )
    live = workspace.registry.live(TENANT, name)
    return live is not None and live.weight_hash == weight_hash
