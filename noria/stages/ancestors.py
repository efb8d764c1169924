"""What an artifact was made from: the one of a stage, anywhere behind it."""

from __future__ import annotations

from noria.artifacts import Artifact
from noria.errors import NoriaError
from noria.workspace import Workspace


def find_ancestor(workspace: Workspace, artifact: Artifact, stage: str) -> Artifact | None:
    """The artifact of a stage that this one was made from, if there is one."""
    lineage = workspace.store.lineage(artifact.key)
    return next((one for one in lineage if one.manifest.stage == stage), None)


def ancestor(workspace: Workspace, artifact: Artifact, stage: str) -> Artifact:
    """The artifact of a stage that this one was made from. Raises NoriaError if there is none."""
    found = find_ancestor(workspace, artifact, stage)
    if found is not None:
        return found
    raise NoriaError(
        f"{artifact.path.name} has no '{stage}' behind it",
        "the artifacts that it was made from",
        "run: noria run",
    )
