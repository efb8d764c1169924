"""The verbs about what is kept of users: backup, store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from postgres_server import Server
from typer.testing import CliRunner

from noria.cli import app
from noria.cli.screen import Silent
from noria.errors import NoriaError
from noria.recipe import TENANT
from noria.workspace import Workspace, open_workspace

KEY = "ab" * 32


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "noria.toml"
    path.write_text('name = "desk"\n[corpus]\ndocuments = ["*.txt"]\nnames = "off"\n')
    return path


def fill(recipe: Path) -> Workspace:
    with open_workspace(recipe, None, Silent()) as workspace:
        for number, person in enumerate(("jo", "li")):
            workspace.feedback.record_interaction(
                tenant=TENANT,
                interaction_id=f"cmpl-{number}",
                model_name="desk",
                weight_hash="ab" * 32,
                kind="completion",
                prompt="p",
                answer="a",
                person=person,
            )
            workspace.feedback.record_feedback(TENANT, f"cmpl-{number}", "correction", "c")
    return workspace


def run(*arguments: str | Path) -> Any:
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    if result.exception is not None:
        raise result.exception
    return json.loads(result.stdout)


def said(recipe: Path) -> list[str]:
    with open_workspace(recipe, None, Silent()) as workspace:
        return [asked.id for asked, _ in workspace.feedback.said(TENANT)]


def test_a_store_is_backed_up_rotated_exported_erased_and_imported(
    recipe: Path, tmp_path: Path
) -> None:
    fill(recipe)
    at = ("--recipe", recipe)
    made = run("backup", tmp_path / "backups", *at)
    assert (made["interactions"], made["feedback"]) == (2, 2)
    assert run("store", "rotate", recipe) == {"tenants": 1}
    assert run("store", "rotate", recipe, "--tenant", TENANT) == {"tenants": 1}
    assert run("backup", tmp_path / "backups", *at, "--check") == made  # by the key before
    assert run("store", "export", tmp_path / "out.jsonl", *at)["rows"] == 4
    assert run("store", "erase", "jo", *at) == {"erased": True}
    assert said(recipe) == ["cmpl-1"]
    with pytest.raises(NoriaError, match="nothing of this person"):
        run("store", "erase", "jo", *at)
    assert run("store", "prune", "0", *at) == {"deleted": 2}
    assert said(recipe) == []
    assert run("store", "import", tmp_path / "out.jsonl", *at) == {"rows": 4}
    assert said(recipe) == ["cmpl-0", "cmpl-1"]


def test_the_environment_says_where_feedback_lies_and_under_which_key(
    recipe: Path, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NORIA_DATABASE", server.new_database())
    monkeypatch.setenv("NORIA_MASTER_KEY", KEY)
    workspace = fill(recipe)
    assert not (workspace.root / "feedback.sqlite").exists()
    assert not (workspace.root / "master.key").exists()
    monkeypatch.setenv("NORIA_MASTER_KEY", f"{'cd' * 32},{KEY}")
    assert run("store", "rotate", recipe) == {"tenants": 1}
    monkeypatch.setenv("NORIA_MASTER_KEY", "cd" * 32)
    assert said(recipe) == ["cmpl-0", "cmpl-1"]
    made = run("backup", tmp_path / "backups", "--recipe", recipe)
    assert "pg_dump" in made["feedback"]
    monkeypatch.setenv("NORIA_MASTER_KEY", KEY)
    with pytest.raises(NoriaError, match="which is not here"):
        said(recipe)


def test_a_recipe_holds_no_password(recipe: Path) -> None:
    text = recipe.read_text()
    for url in ("postgresql://noria:hunter2@host/db", "postgresql://h/db?password=hunter2"):
        recipe.write_text(f'{text}[feedback]\ndatabase = "{url}"\n')
        with pytest.raises(NoriaError, match=r"feedback\.database"):
            open_workspace(recipe, None, Silent())
