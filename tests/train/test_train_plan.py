"""The plan's settings act, and none of them costs exactness after a kill."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import CHOICES, CONFIG, PLAN, VOCAB_SIZE, mixture_in, run
from torch import nn

from noria.errors import TrainingError
from noria.model.likelihood import cross_entropy_sum
from noria.model.styles import Dropout
from noria.model.transformer import build_decoder
from noria.model.weights import model_weight_hash
from noria.train import loop
from noria.train.average import WeightAverage
from noria.train.batch import TokenBatch
from noria.train.blocks import recompute_blocks
from noria.train.loop import train
from noria.train.objectives.losses import next_token
from noria.train.optim import OPTIMIZERS, build_optimizer
from noria.train.plan import Choices, StepReport, TrainPlan
from noria.train.schedule import SCHEDULES, learning_rate_at
from noria.train.step import accumulate

DROPPING = replace(CONFIG, dropout=Dropout(hidden=0.2, attention=0.1, activation=0.1, output=0.1))


class Killed(Exception):
    """Stands for a kill: nothing is saved on the way out."""


def kill_at(step: int) -> Any:
    def watch(report: StepReport) -> None:
        if report.step == step:
            raise Killed

    return watch


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("plan", "config"),
    [
        (replace(PLAN, seed=3), DROPPING),
        (replace(PLAN, average=0.9), CONFIG),
        (replace(PLAN, optimizer="muon", layer_decay=0.8, recompute=True), DROPPING),
        (replace(PLAN, optimizer="sgd", schedule="stable"), CONFIG),
        (replace(PLAN, optimizer="adafactor", schedule="linear"), CONFIG),
        (replace(PLAN, optimizer="adam", average=0.99, keep_best=True), DROPPING),
    ],
    ids=["dropout", "average", "muon-recompute", "sgd", "adafactor", "adam-best"],
)
def test_a_killed_run_ends_with_the_same_bits_whatever_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: TrainPlan, config: Any
) -> None:
    held_out = mixture_in(tmp_path / "held", 400).batch(0)
    whole, losses = run(tmp_path / "whole", plan, config=config, held_out=held_out)
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", 0.0)
    for step in (4, 9):
        with pytest.raises(Killed):
            run(tmp_path / "killed", plan, kill_at(step), config=config, held_out=held_out)
    resumed, resumed_losses = run(tmp_path / "killed", plan, config=config, held_out=held_out)
    assert model_weight_hash(resumed) == model_weight_hash(whole)
    assert resumed_losses == losses


@pytest.mark.parametrize("name", [*OPTIMIZERS, "muon"])
def test_every_optimizer_learns(tmp_path: Path, name: str) -> None:
    rate = {"sgd": 0.3, "adafactor": 0.05}.get(name, 0.01)
    _, losses = run(tmp_path, TrainPlan(60, rate, optimizer=name))
    assert losses[-1]["loss"] < 0.75 * losses[0]["loss"]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_rises_to_the_peak_and_falls_to_its_share(schedule: str) -> None:
    rates = [learning_rate_at(step, 100, 2.0, 0.1, 0.05, schedule) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == pytest.approx(2.0)
    assert all(a >= b for a, b in pairwise(rates[9:]))
    assert rates[-1] == pytest.approx(0.1, abs=0.12)
    assert (rates[79] == pytest.approx(2.0)) == (schedule == "stable")


def test_lower_layers_learn_more_slowly_and_frozen_ones_not_at_all(tmp_path: Path) -> None:
    model = build_decoder(CONFIG, 5)
    rates = {
        id(parameter): group["lr"]
        for part in build_optimizer(model, "adamw", 1.0, 0.1, layer_decay=0.5).parts
        for group in part.param_groups
        for parameter in group["params"]
    }
    found = {name: rates[id(parameter)] for name, parameter in model.named_parameters()}
    assert found["final_norm.weight"] == 1.0
    assert found["blocks.1.attention.query.weight"] == 0.5
    assert found["blocks.0.attention.query.weight"] == 0.25
    assert found["embedding.weight"] == 0.125
    model.blocks[0].requires_grad_(False)
    before = model.blocks[0].attention.query.weight.clone()
    train(model, mixture_in(tmp_path / "shard"), PLAN, CHOICES, tmp_path / "ckpt")
    assert torch.equal(model.blocks[0].attention.query.weight, before)


def test_the_average_is_the_formula() -> None:
    layer = nn.Linear(2, 1, bias=False)
    average = WeightAverage(layer, 0.9)
    wanted = layer.weight.detach().clone()
    for step in range(1, 30):
        with torch.no_grad():
            layer.weight += 1.0
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        wanted = decay * wanted + (1 - decay) * layer.weight.detach()
    assert torch.allclose(average.tensors["weight"], wanted, atol=1e-4)
    last = layer.weight.detach().clone()
    average.swap()
    assert torch.allclose(layer.weight, wanted, atol=1e-4)
    average.swap()
    assert torch.equal(layer.weight, last)


def test_dropout_depends_on_the_seed_and_smoothing_on_its_share(tmp_path: Path) -> None:
    hashes = {
        model_weight_hash(run(tmp_path / str(seed), replace(PLAN, seed=seed), config=DROPPING)[0])
        for seed in (1, 2)
    }
    assert len(hashes) == 2
    smooth, _ = run(tmp_path / "smooth", objective=next_token(0.1))
    assert model_weight_hash(smooth) != model_weight_hash(run(tmp_path / "plain")[0])


def test_smoothed_loss_equals_torchs_own_and_its_gradients() -> None:
    model = build_decoder(CONFIG, 5)
    ids = torch.randint(VOCAB_SIZE, (3, 16), generator=torch.Generator().manual_seed(1))
    mask = torch.ones(3, 16, dtype=torch.bool)
    total, _ = cross_entropy_sum(model, model(ids), ids.roll(-1, 1), mask, 0.2)
    total.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    logits = model.logits(model(ids)).flatten(0, 1)
    wanted = nn.functional.cross_entropy(
        logits, ids.roll(-1, 1).flatten(), reduction="sum", label_smoothing=0.2
    )
    wanted.backward()
    assert total.item() == pytest.approx(wanted.item(), rel=1e-5)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        again, _ = cross_entropy_sum(model, model(ids), ids.roll(-1, 1), mask, 0.2)
    assert again.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_recomputed_blocks_have_the_same_gradients_and_keep_less() -> None:
    ids = torch.randint(VOCAB_SIZE, (8, 16), generator=torch.Generator().manual_seed(1))
    batch = TokenBatch(ids, ids.roll(-1, 1), torch.ones(8, 16, dtype=torch.bool))
    gradients, kept = [], []
    for recomputed in (False, True):
        model = build_decoder(DROPPING, 5).train()
        if recomputed:
            recompute_blocks(model)
        sizes: dict[int, int] = {}

        def note(tensor: torch.Tensor, sizes: dict[int, int] = sizes) -> torch.Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        torch.manual_seed(1)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            accumulate(model, batch, Choices("float32", False, 8, 1), next_token())
        gradients.append({name: p.grad for name, p in model.named_parameters()})
        kept.append(sum(sizes.values()))
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-5, atol=1e-7)
    assert kept[1] < kept[0]


def test_training_stops_when_held_out_text_gets_no_better_and_keeps_the_best(
    tmp_path: Path,
) -> None:
    """Fifty tokens learned by heart: other text gets worse, and the best point is early."""
    held_out = mixture_in(tmp_path / "held", 600).batch(3)
    plan = TrainPlan(120, 0.02, patience=2, keep_best=True)
    model = build_decoder(CONFIG, 5)
    few = mixture_in(tmp_path / "few", 40)
    losses = train(model, few, plan, CHOICES, tmp_path / "ckpt", held_out)
    points = [entry["held_out_loss"] for entry in losses if "held_out_loss" in entry]
    assert len(losses) < 120
    assert min(points[-2:]) >= min(points[:-2])
    ended = loop.held_out_loss(model, held_out, CHOICES, next_token())
    assert ended == pytest.approx(min(points), rel=1e-5)


class Poisoned:
    """A source whose batch of one step is noise, unlike everything before it."""

    def __init__(self, folder: Path, step: int) -> None:
        self._mixture, self._step = mixture_in(folder), step

    def batch(self, step: int) -> TokenBatch:
        batch = self._mixture.batch(step)
        if step != self._step:
            return batch
        noise = torch.randint(VOCAB_SIZE, batch.ids.shape, generator=torch.Generator())
        return replace(batch, ids=noise, targets=noise.flip(1))

    def describe(self, step: int) -> str:
        return self._mixture.describe(step)


def test_a_spike_stops_and_names_the_text_or_is_passed_over(tmp_path: Path) -> None:
    plan = TrainPlan(60, 0.01, spike=2.0)
    source = Poisoned(tmp_path / "shard", 50)
    model = build_decoder(CONFIG, 5)
    with pytest.raises(TrainingError, match=r"the loss of step 51 is .*tokens [\d,]+ to [\d,]+"):
        train(model, source, plan, CHOICES, tmp_path / "stopped")
    back = replace(plan, on_spike="back")
    hashes = set()
    for folder in ("first", "second"):
        model = build_decoder(CONFIG, 5)
        losses = train(model, source, back, CHOICES, tmp_path / folder)
        hashes.add(model_weight_hash(model))
        assert [entry["step"] for entry in losses if entry.get("skipped")] == [51]
        assert len(losses) == 60
        assert losses[-1]["loss"] < 1.5
    assert len(hashes) == 1


def test_settings_that_do_nothing_do_not_change_a_trainings_key() -> None:
    assert list(PLAN.to_json()) == [
        "num_steps",
        "learning_rate",
        "optimizer",
        "warmup",
        "final_learning_rate",
        "weight_decay",
        "clip",
    ]
    assert replace(PLAN, average=0.9, seed=4).to_json() == {**PLAN.to_json(), "average": 0.9}
