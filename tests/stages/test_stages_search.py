"""Search of training settings: it finds what learns, gives up what does not, and goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from noria.cli.screen import Silent
from noria.errors import UsageError
from noria.pipeline import search
from noria.stages import search as searching
from noria.stages.search import best_as_toml
from noria.workspace import Workspace, open_workspace

WriteRecipe = Callable[..., Path]
BOUNDS = """
[search]
trials = 7
learning_rate = [0.00001, 0.02]
optimizer = ["adamw", "sgd"]
"""


def opened(recipe: Path) -> Workspace:
    return open_workspace(recipe, None, Silent())


def test_a_search_finds_what_learns_and_goes_on_after_a_stop(
    tmp_path: Path, tiny_recipe: WriteRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(tmp_path, tokens=20_000, steps=1, requests=1)
    recipe.write_text(recipe.read_text(encoding="utf-8") + BOUNDS, encoding="utf-8")
    real, told = searching._run_trial, []

    def stop_in_third(*arguments, **named):  # type: ignore[no-untyped-def]
        told.append(1)
        if len(told) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **named)

    monkeypatch.setattr(searching, "_run_trial", stop_in_third)
    with opened(recipe) as workspace, pytest.raises(KeyboardInterrupt):
        search(workspace)
    with opened(recipe) as workspace:
        found = search(workspace)
        storage = f"sqlite:///{workspace.root / 'search.sqlite'}"
    (summary,) = optuna.get_all_study_summaries(storage)
    trials = optuna.load_study(study_name=summary.study_name, storage=storage).trials
    assert found.num_trials + found.num_pruned == 7
    stopped = [one for one in trials if one.state.name == "FAIL"]
    again = [one for one in trials if one.params == stopped[0].params and one is not stopped[0]]
    assert len(stopped) == 1
    assert [one.state.name for one in again] in (["COMPLETE"], ["PRUNED"])
    whole = [one.value for one in trials if one.state.name == "COMPLETE"]
    assert found.held_out_loss == min(whole) < max(whole) - 0.1
    assert found.settings["optimizer"] == "adamw"
    assert f"learning_rate = {found.settings['learning_rate']}" in best_as_toml(found)
    page = found.page.read_text(encoding="utf-8")
    assert "<polyline" in page
    assert all(name in page for name in ("learning_rate", "optimizer", "What mattered"))
    with opened(recipe) as workspace:
        assert search(workspace).held_out_loss == found.held_out_loss  # nothing is left to try
    assert len(told) == 8


def test_a_recipe_that_searches_for_nothing_is_told_so(
    tmp_path: Path, tiny_recipe: WriteRecipe
) -> None:
    recipe = tiny_recipe(tmp_path, tokens=20_000, steps=1, requests=1)
    expected = pytest.raises(UsageError, match=r"anything to search for.*learning_rate =")
    with opened(recipe) as workspace, expected:
        search(workspace)
