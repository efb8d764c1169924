"""What the proofs share with the tests: their modules, and a recipe's own run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

RunRecipe = Callable[[str], Path]


@pytest.fixture(scope="session")
def run_recipe() -> RunRecipe:
    """Runs a recipe of this repository in its own store; what is made already is re-used."""

    def run(name: str) -> Path:
        recipe = ROOT / "recipes" / f"{name}.toml"
        command = [sys.executable, "-m", "noria", "run", str(recipe)]
        assert subprocess.run(command, check=False).returncode == 0
        return ROOT / "recipes" / "runs" / name

    return run


@pytest.fixture(scope="session")
def facts_of() -> Callable[[Path, str], dict[str, Any]]:
    """Reads the newest facts of a stage."""

    def read(store: Path, stage: str) -> dict[str, Any]:
        paths = (store / "artifacts").glob(f"{stage}-*/manifest.json")
        newest = max(paths, key=lambda path: path.stat().st_mtime)
        facts: dict[str, Any] = json.loads(newest.read_text(encoding="utf-8"))["facts"]
        return {**facts, "folder": newest.parent}

    return read
