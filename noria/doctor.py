"""Whether this machine and this store are in order: what is there, what is not, what to do."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from noria import lineage
from noria.errors import NoriaError
from noria.recipe import TENANT
from noria.runtime import (
    cache_folder,
    detect_device,
    has_compiler,
    has_fast_bfloat16,
    has_fast_int8,
    machine_name,
    memory_bytes,
)
from noria.stages.task_names import task_name
from noria.workspace import Workspace

NEEDED_MEMORY_BYTES = 3 * 2**30
NEEDED_DISK_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Finding:
    """One thing looked at; state is ok, note (works, but) or fault."""

    what: str
    state: str
    finding: str


def examine_machine() -> list[Finding]:
    """Python, torch, processor, compiler, memory, disk, npm."""
    version = ".".join(map(str, sys.version_info[:3]))
    compiler = has_compiler()
    fast = has_fast_bfloat16()
    enough = memory_bytes() >= NEEDED_MEMORY_BYTES
    folder = cache_folder()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free_bytes = shutil.disk_usage(folder).free
    npm = shutil.which("npm") or (Path(sys.executable).parent / "npm").exists()
    return [
        Finding("python", "ok", version),
        Finding("torch", "ok", f"{importlib.metadata.version('torch')} on {detect_device()}"),
        Finding("machine", "ok" if enough else "note", machine_name()),
        Finding(
            "bfloat16",
            "ok" if fast else "note",
            "in hardware" if fast else "not in hardware: training uses float32",
        ),
        _integers(),
        Finding(
            "compiler",
            "ok" if compiler else "note",
            "there" if compiler else "none: torch.compile is not used; apt-get install g++",
        ),
        Finding(
            "disk",
            "ok" if free_bytes >= NEEDED_DISK_BYTES else "note",
            f"{free_bytes / 1e9:.1f} GB free under {folder}",
        ),
        Finding(
            "npm",
            "ok" if npm else "note",
            "there" if npm else "none: packages of the npm registry can't be fetched",
        ),
    ]


def _integers() -> Finding:
    """How answers of a model of "int8-dynamic" are computed here."""
    if not has_fast_int8():
        return Finding("int8-dynamic", "note", "no AVX-512 VNNI: no faster than int8")
    if find_spec("numba") is None:
        return Finding(
            "int8-dynamic", "note", "not compiled, several times slower: pip install 'noria[fast]'"
        )
    return Finding("int8-dynamic", "ok", "in hardware, compiled")


def examine_workspace(workspace: Workspace) -> list[Finding]:
    """Every stored byte, the audit chain, the live model, the lock."""
    findings = []
    try:
        counts = lineage.verify(workspace)
        findings.append(Finding("store", "ok", f"{counts['artifacts']} artifacts are whole"))
    except NoriaError as error:
        findings.append(Finding("store", "fault", str(error)))
    recipe = workspace.recipe
    names = {f"live {task}": task_name(recipe, task) for task in recipe.tasks}
    if recipe.has_text or not recipe.tasks:
        names = {"live": recipe.name, **names}
    for what, name in names.items():
        live = workspace.registry.live(TENANT, name)
        nothing = f"nothing yet: noria run {workspace.recipe_argument}"
        found = ("ok", live.weight_hash[:12]) if live else ("note", nothing)
        findings.append(Finding(what, *found))
    try:
        count = len(workspace.lock.entries())
        findings.append(Finding("lock", "ok", f"{count} measured choices"))
    except NoriaError as error:
        findings.append(Finding("lock", "fault", str(error)))
    return findings
