"""Where things come from: weights, an artifact, an answer or a record, back to file and line."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from noria.artifacts import Artifact, read_artifact, verify_artifact
from noria.errors import IntegrityError, NoriaError, UnknownName
from noria.recipe import TENANT
from noria.records import read_records, record_id, record_to_json
from noria.registry import Version
from noria.workspace import Workspace

MIN_PREFIX = 6
NEEDED_STAGES = (("corpus",), ("tokenizer", "base"), ("tokens",), ("train",))  # one of each


def trace(workspace: Workspace, name: str) -> dict[str, Any]:
    """Follow a name back: weight hash or artifact key (prefix), interaction or record id.

    Raises UnknownName if nothing has that name.
    """
    if len(name) >= MIN_PREFIX:
        for find in (_trace_interaction, _trace_version, _trace_artifact, _trace_record):
            found = find(workspace, name)
            if found is not None:
                return found
    raise UnknownName(
        f"nothing is called {name!r}",
        f"at least {MIN_PREFIX} characters of a weight hash or of the id of an artifact, "
        "an interaction or a record",
        "noria trace without a name lists versions and artifacts",
    )


def overview(workspace: Workspace) -> dict[str, Any]:
    """Every version, the live one, the audit trail and every artifact."""
    name = workspace.recipe.name
    live = workspace.registry.live(TENANT, name)
    return {
        "live": live.weight_hash if live else None,
        "versions": [asdict(version) for version in workspace.registry.versions(TENANT, name)],
        "audit": [asdict(entry) for entry in workspace.registry.history(TENANT, name)],
        "artifacts": [_brief(artifact) for artifact in workspace.store.all()],
    }


def verify(workspace: Workspace) -> dict[str, int]:
    """Read every artifact's bytes and the audit chain again; returns how many were whole.

    Raises IntegrityError for the first that is not.
    """
    artifacts = workspace.store.all()
    for number, artifact in enumerate(artifacts):
        workspace.watcher.progress(f"verifying {artifact.path.name}", number, len(artifacts))
        verify_artifact(artifact)
    for version in workspace.registry.versions(TENANT, workspace.recipe.name):
        _require_ancestors(workspace, version)
    workspace.registry.verify_chain()
    return {
        "artifacts": len(artifacts),
        "audit_entries": len(workspace.registry.history(TENANT, workspace.recipe.name)),
    }


def _require_ancestors(workspace: Workspace, version: Version) -> None:
    """Raise IntegrityError unless a version's folder, and what it was made from, is there."""
    folder = workspace.root / version.artifact_path
    stages = set()
    if (folder / "manifest.json").is_file():
        made_from = workspace.store.lineage(read_artifact(folder).key)
        stages = {artifact.manifest.stage for artifact in made_from}
    missing = [" or ".join(some) for some in NEEDED_STAGES if not stages.intersection(some)]
    if missing:
        raise IntegrityError(
            f"version {version.weight_hash[:12]} in {folder}: gone or without its "
            f"{', '.join(missing)}",
            "its folder and every artifact that it was made from",
            "run: noria run, or restore the folder",
        )


def _brief(artifact: Artifact) -> dict[str, Any]:
    return {
        "stage": artifact.manifest.stage,
        "key": artifact.key,
        "path": str(artifact.path),
        "weight_hash": artifact.facts.get("weight_hash"),
        "made_at": artifact.manifest.made_at,
    }


def _made_from(workspace: Workspace, artifact: Artifact) -> list[dict[str, Any]]:
    return [
        {**_brief(one), "inputs": one.manifest.inputs, "settings": one.manifest.settings}
        for one in workspace.store.lineage(artifact.key)
    ]


def _trace_version(workspace: Workspace, prefix: str) -> dict[str, Any] | None:
    try:
        version = workspace.registry.find_version(TENANT, workspace.recipe.name, prefix)
    except UnknownName:
        return None
    artifact = read_artifact(workspace.root / version.artifact_path)
    history = workspace.registry.history(TENANT, workspace.recipe.name)
    return {
        "kind": "version",
        "version": asdict(version),
        "made_from": _made_from(workspace, artifact),
        "audit": [asdict(e) for e in history if e.weight_hash == version.weight_hash],
    }


def _trace_artifact(workspace: Workspace, prefix: str) -> dict[str, Any] | None:
    for artifact in workspace.store.all():
        if artifact.key.startswith(prefix) or artifact.path.name == prefix:
            return {"kind": "artifact", "made_from": _made_from(workspace, artifact)}
    return None


def _trace_interaction(workspace: Workspace, interaction_id: str) -> dict[str, Any] | None:
    try:
        interaction = workspace.feedback.find(TENANT, interaction_id)
    except UnknownName:
        return None
    said = [
        asdict(one)
        for one in workspace.feedback.feedback(TENANT)
        if one.interaction_id == interaction_id
    ]
    found = {"kind": "interaction", "interaction": asdict(interaction), "feedback": said}
    try:
        version = _trace_version(workspace, interaction.weight_hash)
    except NoriaError:
        version = None
    return {**found, "version": version["version"] if version else None}


def _trace_record(workspace: Workspace, prefix: str) -> dict[str, Any] | None:
    for artifact in reversed(workspace.store.all()):
        if artifact.manifest.stage != "corpus":
            continue
        for split in ("train", "held_out", "test"):
            for record in read_records(artifact.path / f"{split}.jsonl"):
                if record_id(record).startswith(prefix):
                    return {
                        "kind": "record",
                        "split": split,
                        "corpus": artifact.key,
                        "record": record_to_json(record),
                    }
    return None
