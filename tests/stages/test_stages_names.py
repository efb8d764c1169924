"""A recipe that takes feedback and does not say what becomes of names, where nothing finds them."""

from __future__ import annotations

from pathlib import Path

import pytest

from noria.check import check_recipe
from noria.cli.screen import Silent
from noria.corpus import deidentify
from noria.errors import UsageError
from noria.generate.sampling import Sampling
from noria.pipeline import run
from noria.recipe_file import load_recipe
from noria.serve.worker.keeper import Worker
from noria.serving import build_app
from noria.talk import Talk
from noria.workspace import open_workspace

ROOT = Path(__file__).resolve().parents[2]
RECIPE = 'name = "a"\n[corpus]\ndocuments = ["*.txt"]\n[feedback]\nsimulate = ["*.txt"]\n'


def test_it_is_refused_before_any_work_and_names_the_extra_and_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deidentify, "is_installed", lambda: False)
    (tmp_path / "a.txt").write_text("Nobody trains on this.\n", encoding="utf-8")
    recipe = tmp_path / "noria.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    with open_workspace(recipe, None, Silent()) as workspace:
        for verb in (
            lambda: run(workspace),
            lambda: check_recipe(workspace),
            lambda: build_app(workspace, Worker()),
            lambda: Talk(workspace, "", Sampling()),
        ):
            with pytest.raises(UsageError, match=r"noria\[pii\].*names = \"off\""):
                verb()
        assert workspace.results == []


@pytest.mark.parametrize("name", ["quickstart", "helpdesk", "pretrain"])
def test_shipped_recipes_run_without_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deidentify, "is_installed", lambda: False)
    settings = load_recipe(ROOT / "recipes" / f"{name}.toml").corpus
    deidentify.require_names(settings, personal=True)
