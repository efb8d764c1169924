"""Where things come from: weights, an artifact, an answer or a record, back to file and line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from noria.artifacts import Artifact, read_artifact, verify_artifact
from noria.corpus.folder import Stored, stored_at_line, stored_records
from noria.corpus.original import find_original
from noria.errors import InputError, IntegrityError, UnknownName
from noria.recipe import TENANT
from noria.records import record_id, record_to_json
from noria.registry import Version
from noria.stages.decisions import decisions_about
from noria.stages.reading import packages_here, ways_of_reading
from noria.stages.task_names import task_name
from noria.tokenizer.pack import Shard, open_shard
from noria.workspace import Workspace

MIN_PREFIX = 6
NUM_ANSWERED = 20  # ids of the latest answers that a traced version gave
ENCODED_SPLITS = ("train", "held_out")
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
    registry, names = workspace.registry, _names(workspace)
    live = {name: registry.live(TENANT, name) for name in names}
    versions = [asdict(one) for name in names for one in registry.versions(TENANT, name)]
    audit = [asdict(one) for name in names for one in registry.history(TENANT, name)]
    own = live[workspace.recipe.name]
    return {
        "live": own.weight_hash if own else None,
        "tasks": {
            task: found.weight_hash
            for task in workspace.recipe.tasks
            if (found := live[task_name(workspace.recipe, task)])
        },
        "versions": versions,
        "audit": sorted(audit, key=lambda one: int(one["position"])),
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
    own, *tasks = _names(workspace)
    for version in workspace.registry.versions(TENANT, own):
        _require_ancestors(workspace, version, NEEDED_STAGES)
    for name in tasks:
        data = f"{name.removeprefix(f'{own}.')}.data"
        for version in workspace.registry.versions(TENANT, name):
            _require_ancestors(workspace, version, ((data,),))
    return {"artifacts": len(artifacts), "audit_entries": workspace.registry.verify_chain()}


def _names(workspace: Workspace) -> list[str]:
    """What the registry calls the language model, and each application."""
    recipe = workspace.recipe
    return [recipe.name, *(task_name(recipe, name) for name in recipe.tasks)]


def _require_ancestors(
    workspace: Workspace, version: Version, needed: Sequence[tuple[str, ...]]
) -> None:
    """Raise IntegrityError unless a version's folder, and what it was made from, is there."""
    folder = workspace.root / version.artifact_path
    stages = set()
    if (folder / "manifest.json").is_file():
        made_from = workspace.store.lineage(read_artifact(folder).key)
        stages = {artifact.manifest.stage for artifact in made_from}
    missing = [" or ".join(some) for some in needed if not stages.intersection(some)]
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


def _find_version(workspace: Workspace, prefix: str) -> Version | None:
    for name in _names(workspace):
        try:
            return workspace.registry.find_version(TENANT, name, prefix)
        except UnknownName:
            continue
    return None


def _trace_version(workspace: Workspace, prefix: str) -> dict[str, Any] | None:
    version = _find_version(workspace, prefix)
    if version is None:
        return None
    artifact = read_artifact(workspace.root / version.artifact_path)
    history = workspace.registry.history(TENANT, version.name)
    return {
        "kind": "version",
        "version": asdict(version),
        "made_from": _made_from(workspace, artifact),
        "audit": [asdict(e) for e in history if e.weight_hash == version.weight_hash],
        "answered": workspace.feedback.answered_by(TENANT, version.weight_hash, NUM_ANSWERED),
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
    said = [asdict(one) for one in workspace.feedback.feedback(TENANT, interaction_id)]
    found = {"kind": "interaction", "interaction": asdict(interaction), "feedback": said}
    version = _find_version(workspace, interaction.weight_hash)
    return {
        **found,
        "version": asdict(version) if version is not None else None,
        "taught": decisions_about(workspace, interaction.id),
    }


def _trace_record(workspace: Workspace, prefix: str) -> dict[str, Any] | None:
    for artifact in reversed(workspace.store.all()):
        if artifact.manifest.stage != "corpus":
            continue
        for stored in stored_records(artifact.path):
            if record_id(stored.record).startswith(prefix):
                return _record_found(workspace, artifact, stored)
    return None


def trace_example(workspace: Workspace, split: str, number: int) -> dict[str, Any]:
    """Follow a sequence of the newest tokens back: from 1, in the order of the split's records.

    Raises UnknownName for a split that has no tokens or a number that is not in it, InputError if
    nothing was encoded yet.
    """
    tokens = _newest_tokens(workspace)
    shard = _shard(tokens, split)
    if not 1 <= number <= len(shard.starts):
        raise UnknownName(
            f"example {number:,} of {split}", f"1 to {len(shard.starts):,}, counted as lines are"
        )
    ends = [*shard.starts[number : number + 1].tolist(), shard.num_tokens]
    corpus = _corpus_of(workspace, tokens)
    found = _record_found(workspace, corpus, stored_at_line(corpus.path, split, number))
    place = {"shard": str(tokens.path / split), "start": int(shard.starts[number - 1])}
    return {**found, "example": number, "tokens": {**place, "end": int(ends[0])}}


def trace_token(workspace: Workspace, split: str, position: int) -> dict[str, Any]:
    """Follow a token of the newest tokens back, by its position from 0 in `tokens.bin`.

    Raises UnknownName, InputError as `trace_example` does.
    """
    shard = _shard(_newest_tokens(workspace), split)
    number = int(np.searchsorted(shard.starts, position, side="right"))
    if not (number and position < shard.num_tokens):
        raise UnknownName(
            f"token {position:,} of {split}",
            f"1 to {shard.num_tokens - 1:,}; 0 is the end token that stands before the first",
        )
    return {**trace_example(workspace, split, number), "token": position}


def _newest_tokens(workspace: Workspace) -> Artifact:
    found = [one for one in workspace.store.all() if one.manifest.stage == "tokens"]
    if not found:
        raise InputError(
            f"no tokens in {workspace.store.root}", "a corpus that was encoded", "run: noria run"
        )
    return found[-1]


def _shard(tokens: Artifact, split: str) -> Shard:
    if split not in ENCODED_SPLITS:
        raise UnknownName(f"no tokens of {split!r}", f"one of {', '.join(ENCODED_SPLITS)}")
    return open_shard(tokens.path / split)


def _corpus_of(workspace: Workspace, tokens: Artifact) -> Artifact:
    key = tokens.manifest.inputs["corpus"]
    found = workspace.store.find("corpus", key)
    if found is None:
        raise IntegrityError(
            f"the corpus {key[:16]} of {tokens.path.name} is gone", "its folder", "run: noria run"
        )
    return found


def _record_found(workspace: Workspace, corpus: Artifact, stored: Stored) -> dict[str, Any]:
    """A record with the place where it is stored, and its original."""
    original = find_original(
        stored.record,
        workspace.folder,
        packages_here(workspace),
        ways_of_reading(workspace.recipe, stored.record.source.file),
    )
    return {
        "kind": "record",
        "id": record_id(stored.record),
        "split": stored.split,
        "corpus": corpus.key,
        "stored": {"file": str(corpus.path / stored.file), "line": stored.line},
        "record": record_to_json(stored.record),
        "original": asdict(original),
    }
