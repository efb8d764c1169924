"""Several processes under torchrun: as one would train, whoever has the weights; N go on as M."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small_training import mixture_in

from noria.train.batch import PreferenceBatch, TokenBatch
from noria.train.parallel import Team

SCRIPT = Path(__file__).with_name("team_training.py")


AVERAGED = {"held_out": True, "plan": {"average": 0.9}}
CUT = {"held_out": True, "plan": {"average": 0.9, "shard": True}}
SHORT = {"adapter": True, "held_out": True, "precision": "bfloat16"}
LAUNCHES = (
    (1, {"alone": AVERAGED, "1 to 3": {**AVERAGED, "stop_after": 5}}),
    (1, {"muon": {"plan": {"optimizer": "muon"}}, "adapter": {"adapter": True, "held_out": True}}),
    (1, {"short adapter": SHORT}),
    (2, {"cut short adapter": {**SHORT, "plan": {"shard": True}}}),
    (2, {"copied": AVERAGED, "cut": CUT, "2 to 1": {**CUT, "stop_after": 5}}),
    (2, {"cut muon": {"plan": {"optimizer": "muon", "shard": True}}}),
    (2, {"cut adapter": {"adapter": True, "held_out": True, "plan": {"shard": True}}}),
    (3, {"1 to 3": AVERAGED}),
    (1, {"2 to 1": CUT}),
)


def launch(num_processes: int, trainings: list[dict[str, Any]]) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(num_processes), str(SCRIPT), json.dumps(trainings)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all trainings; those of as many processes are launched together."""
    root = tmp_path_factory.mktemp("teams")
    for size, together in itertools.groupby(LAUNCHES, key=lambda one: one[0]):
        named = [item for _, trainings in together for item in trainings.items()]
        launch(size, [{**asked, "folder": str(root / name)} for name, asked in named])
        for name, asked in named:
            assert (root / name / "losses.json").exists() == ("stop_after" not in asked)
            if "stop_after" in asked:
                newest = sorted((root / name / "ckpt").glob("step-*"))[-1]
                assert json.loads((newest / "state.json").read_text())["step"] == 5
    return root


def assert_same(found: Path, expected: Path, far: float = 2e-5) -> None:
    ours, theirs = (json.loads((one / "losses.json").read_text()) for one in (found, expected))
    assert [one["step"] for one in ours] == [one["step"] for one in theirs]
    for name in ("loss", "held_out_loss"):
        wanted = [one[name] for one in theirs if name in one]
        assert [one[name] for one in ours if name in one] == pytest.approx(wanted, rel=1e-4)
    weights, wanted_weights = (load_file(one / "weights.safetensors") for one in (found, expected))
    assert weights.keys() == wanted_weights.keys()
    for key, tensor in wanted_weights.items():
        torch.testing.assert_close(weights[key], tensor, rtol=1e-3, atol=far)


@pytest.mark.parametrize("name", ["copied", "cut"])
def test_two_processes_train_as_one_does(trained: Path, name: str) -> None:
    assert_same(trained / name, trained / "alone")


@pytest.mark.parametrize("name", ["1 to 3", "2 to 1"])
def test_a_checkpoint_of_n_processes_goes_on_with_m(trained: Path, name: str) -> None:
    assert_same(trained / name, trained / "alone")


# Muon turns matrices in bfloat16, which makes more of a rounding.
@pytest.mark.parametrize(
    ("name", "far"), [("muon", 1e-2), ("adapter", 2e-5), ("short adapter", 2e-5)]
)
def test_muon_and_adapters_train_over_cut_weights(trained: Path, name: str, far: float) -> None:
    assert_same(trained / f"cut {name}", trained / name, far)


def test_products_in_bfloat16_are_others(trained: Path) -> None:
    with pytest.raises(AssertionError):
        assert_same(trained / "short adapter", trained / "adapter", 2e-5)


def test_every_row_is_read_by_one_process_and_all_have_as_many_parts(tmp_path: Path) -> None:
    batch = mixture_in(tmp_path / "shard").batch(0)
    for size in (2, 3, 8, 11):
        parts = [Team(rank, size).parts(batch, 2) for rank in range(size)]
        assert len({len(one) for one in parts}) == 1
        read = [part.ids for one in parts for part, weight in one if weight]
        assert torch.equal(torch.cat(read), batch.ids)


def test_pairs_stay_together_and_thumbs_with_one_process() -> None:
    ids = torch.arange(24).view(6, 4)
    mask = torch.ones_like(ids, dtype=torch.bool)
    pairs = PreferenceBatch(ids, ids, mask, torch.zeros(6))
    for size in (2, 3):
        parts = [one for rank in range(size) for one in Team(rank, size).parts(pairs, 2)]
        read = [part.ids for part, weight in parts if weight]
        assert all(len(one) == 2 and int(one[0, 0]) % 8 == 0 for one in read)
        assert torch.equal(torch.cat(read), ids)
    thumbs = PreferenceBatch(ids, ids, mask, torch.zeros(6), torch.ones(3, dtype=torch.bool))
    weights = [[w for _, w in Team(rank, 2).parts(thumbs, 2)] for rank in range(2)]
    assert weights == [[1.0], [0.0]]
    assert isinstance(Team().parts(TokenBatch(ids, ids, mask), 6)[0][0], TokenBatch)
