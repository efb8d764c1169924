"""How a stage is run: re-used or made, timed, its peak memory noted, its files in the store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noria.artifacts import Artifact, artifact_key
from noria.runtime import peak_memory_bytes, release_memory, reset_peak_memory
from noria.workspace import Workspace

if TYPE_CHECKING:
    from noria.train.parallel import Team

Facts = Mapping[str, Any]


def plain(settings: Any, without: Collection[str] = ()) -> dict[str, Any]:
    """A settings dataclass as JSON values, tuples as lists, without some of its fields."""
    return {
        k: list(v) if isinstance(v, tuple) else v
        for k, v in asdict(settings).items()
        if k not in without
    }


def run_stage(
    workspace: Workspace,
    stage: str,
    make: Callable[[Path], Facts],
    *,
    stage_format: int = 1,
    settings: Mapping[str, Any] | None = None,
    inputs: Mapping[str, str] | None = None,
    lock: Mapping[str, Any] | None = None,
    team: Team | None = None,
    result: Callable[[Facts], str],
) -> Artifact:
    """Build or re-use the stage's artifact and put its line on the table.

    team: whose processes all make it; the first one's files are kept, `make` of the others leaves
    none. Without one this process makes it alone.
    """

    def make_measured(folder: Path) -> Facts:
        release_memory()  # what earlier stages freed is not this one's
        reset_peak_memory()
        facts = make(folder)
        return {**facts, "peak_memory_bytes": peak_memory_bytes()}

    workspace.watcher.begin(stage)
    if team is not None and not team.is_first:
        key = artifact_key(stage, stage_format, settings or {}, inputs or {}, lock or {})
        if workspace.store.find(stage, key) is None:
            make(workspace.root)
        team.wait()
    artifact = workspace.store.build(
        stage,
        make_measured,
        stage_format=stage_format,
        settings=settings,
        inputs=inputs,
        lock=lock,
    )
    if team is not None and team.is_first:
        team.wait()
    workspace.note(stage, artifact, result(artifact.facts))
    return artifact
