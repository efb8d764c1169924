"""Model, data and plan in; trained weights and a loss log out; interruptible, resumed exactly.

A kill at any moment loses at most the time since the last checkpoint, and never a bit: the
resumed run ends with the weights of the uninterrupted one (same choices, same machine).
This module knows neither the recipe nor what the tokens mean.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from noria.errors import Interrupted, TrainingError
from noria.model.transformer import Decoder
from noria.train.batches import Batch, Mixture
from noria.train.checkpoint import frozen_digest, load_latest_checkpoint, save_checkpoint
from noria.train.optim import Optimizer, build_optimizer
from noria.train.schedule import learning_rate_at
from noria.train.step import StepResult, loss_sum, train_step

CHECKPOINT_EVERY_S = 15.0
NUM_HELD_OUT_POINTS = 12


@dataclass(frozen=True)
class TrainPlan:
    """How many steps, and how each is taken."""

    num_steps: int
    learning_rate: float
    optimizer: str = "adamw"
    warmup: float = 0.05
    final_learning_rate: float = 0.05
    weight_decay: float = 0.1
    clip: float = 1.0


@dataclass(frozen=True)
class Choices:
    """What was chosen by measuring, and decides the last bits of every sum."""

    precision: str
    compile: bool
    micro_batch_sequences: int
    num_threads: int


@dataclass(frozen=True)
class StepReport:
    """What a watcher may show after each step."""

    step: int
    num_steps: int
    loss: float
    tokens_per_s: float


def compile_blocks(model: Decoder) -> None:
    """Compile the blocks in place; all blocks share one compiled code, so it takes seconds."""
    for block in model.blocks:
        block.compile(dynamic=False)


def held_out_loss(model: Decoder, batch: Batch, choices: Choices) -> float:
    """Mean loss (nats per token) of a batch, by the same compiled code that trains."""
    parts = batch.split(choices.micro_batch_sequences)
    total = sum(float(loss_sum(model, part, choices.precision).detach()) for part in parts)
    return total / max(1, batch.num_trained_tokens)


def train(
    model: Decoder,
    mixture: Mixture,
    plan: TrainPlan,
    choices: Choices,
    checkpoints: Path,
    held_out: Batch | None = None,
    watch: Callable[[StepReport], None] | None = None,
) -> list[dict[str, Any]]:
    """Train in place, from the newest checkpoint if there is one; returns the loss log.

    Each entry of the log has `step` and `loss` (nats per token), some have `held_out_loss`.
    Raises TrainingError if the loss stops being a number, Interrupted after Ctrl-C; the
    checkpoint written then is where the same call goes on.
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TrainingError(
            "a model in which nothing trains", "weights or an adapter", "use an adapter first"
        )
    optimizer = build_optimizer(model, plan.optimizer, plan.learning_rate, plan.weight_decay)
    frozen = frozen_digest(model)
    progress = load_latest_checkpoint(checkpoints, model, optimizer, frozen)
    losses = list(progress.losses)
    model.train()
    if choices.compile:
        compile_blocks(model)
    point_every = max(1, plan.num_steps // NUM_HELD_OUT_POINTS)
    saved_at = time.monotonic()
    step = progress.step
    try:
        while step < plan.num_steps:
            started_at = time.monotonic()
            batch = mixture.batch(step)
            result = _take_step(model, optimizer, batch, plan, choices, step)
            step += 1
            entry: dict[str, Any] = {"step": step, "loss": result.loss}
            if held_out is not None and (step % point_every == 0 or step == plan.num_steps):
                entry["held_out_loss"] = held_out_loss(model, held_out, choices)
            losses.append(entry)
            now = time.monotonic()
            if watch is not None:
                rate = batch.ids.numel() / (now - started_at)
                watch(StepReport(step, plan.num_steps, result.loss, rate))
            if now - saved_at > CHECKPOINT_EVERY_S:
                save_checkpoint(checkpoints, model, optimizer, step, losses, frozen)
                saved_at = time.monotonic()
    except KeyboardInterrupt as interrupt:
        if len(losses) == step:  # between steps, or before the update of this one
            save_checkpoint(checkpoints, model, optimizer, step, losses, frozen)
        raise Interrupted(
            f"stopped at step {step} of {plan.num_steps}",
            fix="run the same command again to go on from there",
        ) from interrupt
    model.eval()
    return losses


def _take_step(
    model: Decoder, optimizer: Optimizer, batch: Batch, plan: TrainPlan, choices: Choices, step: int
) -> StepResult:
    share = learning_rate_at(step, plan.num_steps, 1.0, plan.warmup, plan.final_learning_rate)
    optimizer.set_share(share)
    result = train_step(
        model, optimizer, batch, choices.micro_batch_sequences, choices.precision, plan.clip
    )
    if not isfinite(result.loss):
        raise TrainingError(
            f"the loss of step {step + 1} is {result.loss}",
            "a finite number",
            f"lower the learning rate (now {share * plan.learning_rate:.2g}); "
            "the weights before this step are kept",
        )
    return result
