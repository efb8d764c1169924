"""Training an adapter: exact after a kill, the base untouched, checkpoints as small as it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from adapted_models import CONFIG, adapted
from safetensors.torch import load_file

from noria.errors import TrainingError
from noria.model.adapted import TARGETS
from noria.model.adapters import adapter_tensors, add_adapter, merged, use_adapter
from noria.model.transformer import Decoder, build_decoder
from noria.model.weights import model_weight_hash, weight_hash
from noria.tokenizer.pack import open_shard, write_shard
from noria.train import loop
from noria.train.batches import Blocks, Mixture
from noria.train.checkpoint import frozen_digest, load_latest_checkpoint, save_checkpoint
from noria.train.loop import train
from noria.train.optim import build_optimizer
from noria.train.plan import Choices, StepReport, TrainPlan

PLAN = TrainPlan(num_steps=10, learning_rate=0.02)
CHOICES = Choices("float32", False, 4, 1)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def a_checkpoint_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", 0.0)


def mixture(folder: Path) -> Mixture:
    """Token n is followed by n + 3 or n + 5; half of the tokens do not count."""
    random = np.random.default_rng(7)
    ids = np.cumsum(random.choice([3, 5], 1000)) % 97
    write_shard(folder, [(ids.tolist(), (np.arange(1000) // 7 % 2).tolist())], 97)
    blocks = Blocks(open_shard(folder), CONFIG.context_tokens, 0, seed=3)
    return Mixture([(blocks, 1.0)], 8)


def run(  # type: ignore[no-untyped-def]
    folder: Path, model: Decoder, watch=None, plan: TrainPlan = PLAN, choices: Choices = CHOICES
) -> list:  # type: ignore[type-arg]
    return train(model, mixture(folder / "shard"), plan, choices, folder / "ckpt", None, watch)


class KilledError(Exception):
    pass


def kill_at(step: int):  # type: ignore[no-untyped-def]
    def watch(report: StepReport) -> None:
        if report.step == step:
            raise KilledError

    return watch


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_resumed_adapter_is_bit_identical(tmp_path: Path, precision: str) -> None:
    choices = replace(CHOICES, precision=precision)
    whole = adapted()
    losses = run(tmp_path / "whole", whole, choices=choices)
    assert losses[-1]["loss"] < losses[0]["loss"]
    for step in (3, 8):
        with pytest.raises(KilledError):
            run(tmp_path / "killed", adapted(), kill_at(step), choices=choices)
    resumed = adapted()
    assert run(tmp_path / "killed", resumed, choices=choices) == losses
    assert model_weight_hash(resumed) == model_weight_hash(whole)
    assert model_weight_hash(merged(resumed, "one")) == model_weight_hash(merged(whole, "one"))


def test_only_the_acting_adapter_changes(tmp_path: Path) -> None:
    model = adapted("resting")
    add_adapter(model, "acting", 4, 8, TARGETS, seed=9)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    run(tmp_path, model, plan=replace(PLAN, num_steps=40))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == ("@acting." not in name), name
    use_adapter(model, None)
    plain = build_decoder(CONFIG, seed=5)
    ids = torch.arange(16)[None]
    assert torch.equal(model(ids), plain(ids))


def test_a_checkpoint_holds_the_adapter_alone(tmp_path: Path) -> None:
    model = adapted()
    run(tmp_path, model)
    newest = sorted((tmp_path / "ckpt").glob("step-*"))[-1]
    weights = load_file(newest / "weights.safetensors")
    assert len(weights) == len(adapter_tensors(model, "one"))
    assert all("@one.lora_" in name for name in weights)
    moments = load_file(newest / "optimizer.safetensors")
    assert len(moments) == 3 * len(weights)


def test_a_checkpoint_over_another_base_or_adapter_is_refused(tmp_path: Path) -> None:
    run(tmp_path, adapted())
    other_base = adapted()
    with torch.no_grad():
        other_base.blocks[0].attention.query.weight[0, 0] += 1e-6
    other_rank = build_decoder(CONFIG, seed=5)
    add_adapter(other_rank, "one", 2, 8, TARGETS, seed=2)
    other_name = adapted("two")
    for model, message in (
        (other_base, "expected the frozen weights of this model"),
        (other_rank, r"lora_a differs\)"),
        (other_name, "expected the trained weights of this model"),
        (build_decoder(CONFIG, seed=5), "expected the frozen weights"),
    ):
        before = model_weight_hash(model)
        with pytest.raises(TrainingError, match=message):
            run(tmp_path, model)
        assert model_weight_hash(model) == before


def test_a_checkpoint_of_the_format_before_goes_on(tmp_path: Path) -> None:
    model = build_decoder(CONFIG, seed=5)
    optimizer = build_optimizer(model, "adamw", 0.01, 0.1)
    path = save_checkpoint(tmp_path, model, optimizer, 4, [{"loss": 1.0}], frozen_digest(model))
    state = json.loads((path / "state.json").read_text())
    del state["frozen"]
    (path / "state.json").write_text(json.dumps(state | {"checkpoint_format": 1}))
    other = build_decoder(CONFIG, seed=6)
    other_optimizer = build_optimizer(other, "adamw", 0.01, 0.1)
    progress = load_latest_checkpoint(tmp_path, other, other_optimizer, frozen_digest(other))
    assert progress.step == 4
    assert model_weight_hash(other) == model_weight_hash(model)
    adapter = adapted()
    with pytest.raises(TrainingError, match="checkpoint of another training"):
        load_latest_checkpoint(tmp_path, adapter, build_optimizer(adapter, "adamw", 0.01, 0.1), "f")


def test_the_digest_of_frozen_weights_follows_what_trains() -> None:
    assert frozen_digest(build_decoder(CONFIG, seed=5)) == ""
    model = adapted()
    base = {name: one for name, one in model.state_dict().items() if "@" not in name}
    assert frozen_digest(model) == weight_hash(base)
