"""`noria train`: alone, on two processes, mirrored to MLflow; `noria run` goes on from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from noria.artifacts import read_artifact
from noria.cli.screen import Silent
from noria.errors import Interrupted, StorageError
from noria.pipeline import train
from noria.stages import watching
from noria.workspace import open_workspace

WriteRecipe = Callable[..., Path]
QUIET = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")  # MLflow's own
TRACK = '\n[track]\nmlflow = "sqlite:///mirror/runs.db"\n'


def torchrun(recipe: Path, store: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "noria", "train", str(recipe)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [*command, "--store", str(store), "--json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def test_two_processes_train_a_recipe_as_one_does(tmp_path: Path, tiny_recipe: WriteRecipe) -> None:
    recipe = tiny_recipe(tmp_path, tokens=20_000, steps=1, requests=1)
    found = torchrun(recipe, tmp_path / "two")
    assert found["processes"] == 2
    with open_workspace(recipe, tmp_path / "one", Silent()) as workspace:
        alone = train(workspace)
    together = read_artifact(Path(found["path"]))
    assert together.key == alone.key  # so that `noria run` goes on from either
    assert together.facts["weight_hash"] == found["weight_hash"]
    curves = [[entry["loss"] for entry in one.facts["losses"]] for one in (together, alone)]
    assert curves[0] == pytest.approx(curves[1], rel=1e-3)
    with open_workspace(recipe, tmp_path / "two", Silent()) as workspace:
        assert train(workspace).reused


@QUIET
def test_metrics_are_mirrored_and_a_stopped_training_stays_one_run(
    tmp_path: Path, tiny_recipe: WriteRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(tmp_path, tokens=20_000, steps=1, requests=1)
    recipe.write_text(recipe.read_text(encoding="utf-8") + TRACK, encoding="utf-8")
    write = watching.Mirror.write

    def stop_at_4(mirror: Any, step: int, values: dict[str, Any]) -> None:
        write(mirror, step, values)
        if step == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(watching.Mirror, "write", stop_at_4)
        with open_workspace(recipe, None, Silent()) as workspace, pytest.raises(Interrupted):
            train(workspace)
    with open_workspace(recipe, None, Silent()) as workspace:
        trained = train(workspace)
        lines = workspace.metrics_path.read_text(encoding="utf-8").splitlines()
    metrics = [json.loads(line) for line in lines]
    assert 0.0 < metrics[-1]["matmul_share"] < 1.2
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mirror/runs.db")
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["seed"] == "1"
    curve = client.get_metric_history(run.info.run_id, "loss")
    mirrored = {one.step: one.value for one in curve}
    wanted = {one["step"]: one["loss"] for one in trained.facts["losses"]}
    assert mirrored == wanted
    history = client.get_metric_history(run.info.run_id, "gradient_norm")
    norms = {one.step: one.value for one in history}
    assert norms == {one["step"]: one["gradient_norm"] for one in metrics}


@QUIET
def test_a_store_of_mlflow_that_cannot_be_used_is_named(
    tmp_path: Path, tiny_recipe: WriteRecipe
) -> None:
    recipe = tiny_recipe(tmp_path, tokens=20_000, steps=1, requests=1)
    (tmp_path / "file").write_text("no folder")
    wrong = TRACK.replace("mirror/runs.db", "file/runs.db")
    recipe.write_text(recipe.read_text(encoding="utf-8") + wrong, encoding="utf-8")
    expected = pytest.raises(StorageError, match=r"sqlite:///file/runs.db can't be used")
    with open_workspace(recipe, None, Silent()) as workspace, expected:
        train(workspace)
