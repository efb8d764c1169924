"""`noria evaluate --harness`, as a user types it: scores that know their weights, kept and read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmark_tasks import questions, write_model, write_tasks

from noria.cli import main
from noria.cli.screen import Silent
from noria.recipe import TENANT
from noria.workspace import open_workspace


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe whose live version is a model that nobody trained, and three tasks beside it."""
    folder = tmp_path_factory.mktemp("evaluate")
    path = folder / "noria.toml"
    path.write_text('name = "small"\n[corpus]\ndocuments = ["*.txt"]\n', encoding="utf-8")
    write_tasks(folder)
    with open_workspace(path, None, Silent()) as workspace:
        made = workspace.store.build("train", lambda out: {"weight_hash": write_model(out)})
        weights = made.facts["weight_hash"]
        place = str(made.path.relative_to(workspace.root))
        workspace.registry.register(TENANT, "small", weights, place, "made by hand", "")
        workspace.registry.promote(TENANT, "small", weights, "test", "test")
    return path


def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """The verb's exit code and what it printed."""
    monkeypatch.setattr(sys, "argv", ["noria", "evaluate", *words])
    with pytest.raises(SystemExit) as left:
        main()
    return left.value.code, capsys.readouterr()


def test_scores_are_stored_with_their_weights_and_read_again(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = str(recipe.parent / "choice.yaml")
    words = (str(recipe), "--harness", task, "--json")
    code, said = call(monkeypatch, capsys, *words)
    assert code == 0, said.err
    found = json.loads(said.out)["scores"]
    with open_workspace(recipe, None, Silent()) as workspace:
        live = workspace.version("")
        folders = list((workspace.root / "artifacts").glob("benchmark-*/scores.json"))
    assert [row["metric"] for row in found] == ["choice.acc", "choice.acc_norm"]
    assert {row["weight_hash"] for row in found} == {live.weight_hash}
    assert found[0]["num_records"] == len(questions())
    assert found[0]["low"] < found[0]["value"] < found[0]["high"]
    assert json.loads(folders[0].read_text())["scores"] == found
    assert json.loads(call(monkeypatch, capsys, *words)[1].out)["scores"] == found  # its time too
    prefix = live.weight_hash[:12]
    code, said = call(
        monkeypatch, capsys, str(recipe), "--harness", task, "--model", prefix, "--limit", "5"
    )
    assert code == 0
    assert prefix in said.out and "5 examples" in said.out


def test_scores_of_other_weights_are_refused(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (str(recipe), "--harness", str(recipe.parent / "texts.yaml"))
    assert call(monkeypatch, capsys, *words)[0] == 0
    root = recipe.parent / "runs" / "small" / "artifacts"
    for path in root.glob("benchmark-*/scores.json"):
        text = path.read_text(encoding="utf-8")
        weights = json.loads(text)["scores"][0]["weight_hash"]
        path.write_text(text.replace(weights, "ff" * 32), encoding="utf-8")
    code, said = call(monkeypatch, capsys, *words)
    assert code == 1
    assert "was measured on weights ffff" in said.err


def test_a_wrong_call_says_what_to_do(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = call(monkeypatch, capsys, str(recipe))
    assert code == 2 and "--harness" in said.err
    code, said = call(monkeypatch, capsys, str(recipe), "--harness", "absent.yaml")
    assert code == 2 and "can't be read" in said.err
    task = str(recipe.parent / "choice.yaml")
    code, said = call(monkeypatch, capsys, str(recipe), "--harness", task, "--model", "beef" * 8)
    assert code == 2
