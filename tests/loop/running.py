"""A run of the command line and what it left, for the tests of the loop."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noria.recipe import TENANT
from noria.registry import Registry


@dataclass(frozen=True)
class Ran:
    """A run of the command line: where, how it ended, what it said."""

    recipe: Path
    store: Path
    exit_code: int
    said: dict[str, Any]

    def audit(self) -> list[tuple[str, str]]:
        registry = Registry(self.store / "registry.sqlite")
        entries = [
            (entry.action, entry.weight_hash)
            for entry in registry.history(TENANT, "tiny")
            if entry.action != "register"
        ]
        registry.close()
        return entries


def noria(*words: str, exit_code: int = 0) -> dict[str, Any]:
    """Run a verb in a process of its own, as a user does; returns its JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "noria", *words, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == exit_code, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def run(recipe: Path, store: Path, exit_code: int = 0) -> Ran:
    said = noria("run", str(recipe), "--store", str(store), exit_code=exit_code)
    return Ran(recipe, store, exit_code, said)


def facts(ran: Ran, stage: str) -> list[dict[str, Any]]:
    found = sorted((ran.store / "artifacts").glob(f"{stage}-*/manifest.json"))
    return [json.loads(path.read_text())["facts"] for path in found]
