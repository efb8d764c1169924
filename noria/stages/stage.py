"""How a stage is run: re-used or made, timed, its peak memory noted, its files in the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from noria.artifacts import Artifact
from noria.runtime import peak_memory_bytes, release_memory, reset_peak_memory
from noria.workspace import Workspace

Facts = Mapping[str, Any]


def plain(settings: Any) -> dict[str, Any]:
    """A settings dataclass as JSON values, tuples as lists."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(settings).items()}


def run_stage(
    workspace: Workspace,
    stage: str,
    make: Callable[[Path], Facts],
    *,
    stage_format: int = 1,
    settings: Mapping[str, Any] | None = None,
    inputs: Mapping[str, str] | None = None,
    lock: Mapping[str, Any] | None = None,
    result: Callable[[Facts], str],
) -> Artifact:
    """Build or re-use the stage's artifact and put its line on the table."""

    def make_measured(folder: Path) -> Facts:
        release_memory()  # what earlier stages freed is not this one's
        reset_peak_memory()
        facts = make(folder)
        return {**facts, "peak_memory_bytes": peak_memory_bytes()}

    workspace.watcher.begin(stage)
    artifact = workspace.store.build(
        stage,
        make_measured,
        stage_format=stage_format,
        settings=settings,
        inputs=inputs,
        lock=lock,
    )
    workspace.note(stage, artifact, result(artifact.facts))
    return artifact
