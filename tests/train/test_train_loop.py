"""The trainer: exact after an interruption, fair to uneven batches, and it learns."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from small_training import CHOICES, CONFIG, PLAN, mixture_in, run

from noria.errors import Interrupted, TrainingError
from noria.model.transformer import build_decoder
from noria.model.weights import model_weight_hash
from noria.tokenizer.pack import open_shard, write_shard
from noria.train import loop
from noria.train.batch import TokenBatch
from noria.train.batches import Blocks, Mixture
from noria.train.choices import micro_batch_candidates
from noria.train.loop import train
from noria.train.objectives.losses import next_token
from noria.train.plan import Choices, StepReport
from noria.train.schedule import learning_rate_at
from noria.train.step import accumulate


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_loss_falls_to_the_entropy_of_the_text(tmp_path: Path) -> None:
    _, losses = run(tmp_path, replace(PLAN, num_steps=80))
    assert losses[0]["loss"] > 4.0  # ln 97 = 4.57
    assert losses[-1]["loss"] < 1.2  # ln 2 = 0.69: one of two successors


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_resumed_run_is_bit_identical(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    choices = replace(CHOICES, precision=precision)
    whole, losses = run(tmp_path / "whole", choices=choices)
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", 0.0)

    class Killed(Exception):
        pass

    def stop_at(step: int):  # type: ignore[no-untyped-def]
        def watch(report: StepReport) -> None:
            if report.step == step:
                raise Killed

        return watch

    for step in (3, 7, 11):
        with pytest.raises(Killed):
            run(tmp_path / "killed", watch=stop_at(step), choices=choices)
    resumed, resumed_losses = run(tmp_path / "killed", choices=choices)
    assert model_weight_hash(resumed) == model_weight_hash(whole)
    assert resumed_losses == losses


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    def watch(report: StepReport) -> None:
        if report.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=r"stopped at step 5 of 12; run the same command again"):
        run(tmp_path, watch=watch)
    seen: list[int] = []
    model, _ = run(tmp_path, watch=lambda report: seen.append(report.step))
    assert seen == [6, 7, 8, 9, 10, 11, 12]
    assert model_weight_hash(model) == model_weight_hash(run(tmp_path / "whole")[0])


@pytest.mark.parametrize("damage", ["torn", "flipped", "gone"])
def test_a_damaged_checkpoint_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", 0.0)
    whole, _ = run(tmp_path / "whole")
    run(tmp_path / "damaged", replace(PLAN, num_steps=12))
    newest = sorted((tmp_path / "damaged" / "ckpt").glob("step-*"))[-1] / "weights.safetensors"
    data = bytearray(newest.read_bytes())
    if damage == "torn":
        newest.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        data[-5] ^= 1
        newest.write_bytes(data)
    else:
        newest.unlink()
    seen: list[int] = []
    model, _ = run(tmp_path / "damaged", watch=lambda report: seen.append(report.step))
    assert seen == [12]  # went back one checkpoint, not to the start
    assert model_weight_hash(model) == model_weight_hash(whole)


def test_accumulated_gradients_equal_the_full_batch_for_uneven_token_counts() -> None:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(97, (8, 16), generator=generator)
    mask = torch.rand((8, 16), generator=generator) < torch.linspace(0.05, 1, 8)[:, None]
    batch = TokenBatch(ids, ids.roll(-1, 1), mask)
    gradients = []
    for cut in (8, 3, 1):
        model = build_decoder(CONFIG, seed=5)
        accumulate(model, batch, Choices("float32", False, cut, 1), next_token())
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for other in gradients[1:]:
        for name, gradient in gradients[0].items():
            torch.testing.assert_close(other[name], gradient, rtol=1e-4, atol=1e-6)


def test_a_loss_that_is_not_a_number_stops_and_changes_no_weight(tmp_path: Path) -> None:
    model = build_decoder(CONFIG, seed=5)
    with torch.no_grad():
        next(iter(model.parameters()))[0, 0] = float("nan")
    before = model_weight_hash(model)
    with pytest.raises(
        TrainingError,
        match=r"the loss of step 1 is nan, of the batch with tokens 711 to .*a finite number",
    ):
        train(model, mixture_in(tmp_path / "shard"), PLAN, CHOICES, tmp_path / "ckpt")
    assert model_weight_hash(model) == before


def test_every_block_is_seen_once_a_pass_in_a_new_order(tmp_path: Path) -> None:
    write_shard(tmp_path, [(list(range(1, 81)), None)], 97)
    blocks = Blocks(open_shard(tmp_path), 16, 0, seed=3)
    passes = [
        [tuple(blocks.read(p * blocks.num_blocks + i)[0]) for i in range(blocks.num_blocks)]
        for p in range(3)
    ]
    assert all(len(set(seen)) == blocks.num_blocks for seen in passes)
    assert [b[0] for b in passes[0]] != [b[0] for b in passes[1]]


def test_a_shard_with_nothing_to_learn_is_refused(tmp_path: Path) -> None:
    write_shard(tmp_path, [([1, 2, 3], [0, 0, 0])], 97)
    with pytest.raises(TrainingError, match="no token to train on"):
        Blocks(open_shard(tmp_path), 16, 0, seed=3)


def test_mixture_keeps_the_shares_in_every_batch(tmp_path: Path) -> None:
    write_shard(tmp_path / "a", [([5] * 200, None)], 97)
    write_shard(tmp_path / "b", [([9] * 200, None)], 97)
    sources = [
        (Blocks(open_shard(tmp_path / n), 16, 0, 1), s) for n, s in (("a", 0.75), ("b", 0.25))
    ]
    mixture = Mixture(sources, 8)
    for step in range(5):
        batch = mixture.batch(step)
        assert int((batch.targets[:, 3] == 5).sum()) == 6
        assert int((batch.targets[:, 3] == 9).sum()) == 2


def test_learning_rate_rises_then_falls_to_its_share() -> None:
    rates = [learning_rate_at(step, 100, 1.0, 0.1, 0.05) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == pytest.approx(1.0)
    assert all(a >= b for a, b in pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(0.05, abs=0.001)


def test_micro_batches_cut_a_batch_without_rest() -> None:
    assert micro_batch_candidates(32, 256) == [8, 16, 32]
    assert all(24 % n == 0 for n in micro_batch_candidates(24, 256))
    assert micro_batch_candidates(1, 4096) == [1]
