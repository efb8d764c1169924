"""What a turn made, and how the registry learns of it: the same for every kind of model."""

from __future__ import annotations

import json
from dataclasses import dataclass

from noria.artifacts import Artifact
from noria.improve.curate import Curated
from noria.improve.verdict import Verdict, verdict_from_json, verdict_to_json
from noria.stages.promotion import register_as
from noria.workspace import Workspace


@dataclass(frozen=True)
class Turn:
    """What one turn of the model of this name in the registry made."""

    name: str
    champion: Artifact
    challenger: Artifact
    control: Artifact
    judged: Artifact
    curated: Curated
    verdict: Verdict


def conclude(
    workspace: Workspace,
    name: str,
    models: tuple[Artifact, Artifact, Artifact],
    judged: Artifact,
    curated: Curated,
) -> Turn:
    """Make champion's challenger and control, in this order, known with the verdict on them."""
    champion, challenger, control = models
    verdict = verdict_from_json(json.loads((judged.path / "verdict.json").read_text("utf-8")))
    for artifact, origin in ((challenger, "challenger"), (control, "control")):
        register_as(workspace, name, artifact, origin, champion.facts["weight_hash"])
    workspace.registry.record_gate(
        workspace.tenant,
        name,
        challenger.facts["weight_hash"],
        judged.key,
        judged.facts["set_digest"],
        verdict_to_json(verdict),
    )
    return Turn(name, champion, challenger, control, judged, curated, verdict)
