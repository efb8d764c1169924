"""Model, data and plan in; trained weights and a loss log out; interruptible, resumed exactly.

A kill at any moment loses at most the time since the last checkpoint, and never a bit: the
resumed run ends with the weights of the uninterrupted one (same choices, same machine).
This module knows neither the recipe, nor what the tokens mean, nor what is to be learned.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from math import inf, isfinite
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from noria.errors import Interrupted, TrainingError
from noria.model.block import Block
from noria.model.config import ModelConfig
from noria.model.heads import HeadConfig
from noria.runtime import release_memory
from noria.train.average import WeightAverage
from noria.train.batch import Batch
from noria.train.checkpoint import (
    frozen_digest,
    load_best,
    load_latest_checkpoint,
    save_best,
    save_checkpoint,
)
from noria.train.objectives.losses import Objective, next_token
from noria.train.optim import Optimizer, build_optimizer
from noria.train.prefetch import Prefetch
from noria.train.schedule import learning_rate_at
from noria.train.step import StepResult, loss_sum, train_step

CHECKPOINT_EVERY_S = 15.0
NUM_HELD_OUT_POINTS = 12
NUM_FIRST_SETTINGS = 7  # of a plan, which its JSON form has always had
RECENT_STEPS = 20  # whose mean loss a spike is measured by


@dataclass(frozen=True)
class TrainPlan:
    """How many steps, and how each is taken.

    average: decay of the running mean of the weights that training ends with, 0 for the last
    weights. patience: so many points of the held-out curve without a better one end the training;
    keep_best: it ends with the weights of the best point. recompute: blocks are computed again for
    the backward pass, which costs a third more time and saves most of the memory. spike: a loss
    that is so many times the recent mean is one, 0 for none; on_spike: "stop", or "back" to the
    last checkpoint and past the batch. seed: of dropout.
    """

    num_steps: int
    learning_rate: float
    optimizer: str = "adamw"
    warmup: float = 0.05
    final_learning_rate: float = 0.05
    weight_decay: float = 0.1
    clip: float = 1.0
    schedule: str = "cosine"
    layer_decay: float = 1.0
    average: float = 0.0
    patience: int = 0
    keep_best: bool = False
    recompute: bool = False
    spike: float = 0.0
    on_spike: str = "stop"
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """What decides the result beside the seed, which its caller knows.

        Settings that came later are there only where they act, so that an older training keeps its
        key.
        """
        later = fields(self)[NUM_FIRST_SETTINGS:]
        idle = {one.name for one in later if getattr(self, one.name) == one.default} | {"seed"}
        return {name: value for name, value in asdict(self).items() if name not in idle}


@dataclass(frozen=True)
class Choices:
    """What was chosen by measuring, and decides the last bits of every sum."""

    precision: str
    compile: bool
    micro_batch_sequences: int
    num_threads: int


@dataclass(frozen=True)
class StepReport:
    """What a watcher may show after each step; gradient_norm is before clipping."""

    step: int
    num_steps: int
    loss: float
    tokens_per_s: float
    gradient_norm: float
    learning_rate: float


class BatchSource(Protocol):
    """Batches in an order that the step's number alone decides."""

    def batch(self, step: int) -> Batch:
        """The batch of a step (from 0)."""
        ...

    def describe(self, step: int) -> str:
        """Which examples are in it, for people."""
        ...


@dataclass
class _Run:
    """A training on its way."""

    model: nn.Module
    optimizer: Optimizer
    average: WeightAverage | None
    frozen: str
    folder: Path
    step: int = 0
    losses: list[dict[str, Any]] = field(default_factory=list)
    skipped: set[int] = field(default_factory=set)

    def save(self) -> None:
        mean = None if self.average is None else self.average.tensors
        save_checkpoint(
            self.folder, self.model, self.optimizer, self.step, self.losses, self.frozen, mean
        )

    def restore(self) -> None:
        progress = load_latest_checkpoint(self.folder, self.model, self.optimizer, self.frozen)
        self.step, self.losses = progress.step, list(progress.losses)
        if self.average is not None and progress.average is not None:
            self.average.restore(progress.average)


def compile_blocks(model: nn.Module) -> None:
    """Compile the blocks in place; all blocks share one compiled code, so it takes seconds."""
    for block in _blocks(model):
        block.compile(dynamic=False)


def recompute_blocks(model: nn.Module) -> None:
    """Keep only what enters each block, and compute the rest again for the backward pass.

    Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost".
    """
    for block in _blocks(model):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)  # type: ignore[method-assign]


def _blocks(model: nn.Module) -> list[Block]:
    return [module for module in model.modules() if isinstance(module, Block)]


def held_out_loss(model: nn.Module, batch: Batch, choices: Choices, objective: Objective) -> float:
    """Mean loss (nats) of a batch, by the same compiled code that trains, without dropout."""
    parts = batch.split(choices.micro_batch_sequences)
    losses = (loss_sum(model, part, choices.precision, objective).detach() for part in parts)
    return sum(float(loss) for loss in losses) / max(1, batch.num_counted)


def train(
    model: nn.Module,
    source: BatchSource,
    plan: TrainPlan,
    choices: Choices,
    checkpoints: Path,
    held_out: Batch | None = None,
    watch: Callable[[StepReport], None] | None = None,
    objective: Objective | None = None,
) -> list[dict[str, Any]]:
    """Train in place, from the newest checkpoint if there is one; returns the loss log.

    objective: next_token if none is given. Each entry of the log has `step` and `loss` (nats), some
    have `held_out_loss`; one that was passed over has `skipped`.
    Raises TrainingError if the loss stops being a number or spikes, naming the batch; Interrupted
    after Ctrl-C; the checkpoint written then is where the same call goes on.
    """
    objective = objective or next_token()
    run = _begin(model, plan, checkpoints)
    model.train()
    if plan.recompute:
        recompute_blocks(model)
    if choices.compile:
        compile_blocks(model)
    saved_at = time.monotonic()
    with Prefetch(source.batch) as batches:
        try:
            while run.step < plan.num_steps and not _is_over(run.losses, plan):
                _advance(run, batches, source, plan, choices, held_out, watch, objective)
                if time.monotonic() - saved_at > CHECKPOINT_EVERY_S:
                    run.save()
                    release_memory()  # rows of many lengths leave a heap full of gaps
                    saved_at = time.monotonic()
        except KeyboardInterrupt as interrupt:
            if len(run.losses) == run.step:  # between steps, or before the update of this one
                run.save()
            raise Interrupted(
                f"stopped at step {run.step} of {plan.num_steps}",
                fix="run the same command again to go on from there",
            ) from interrupt
    if run.average is not None:
        run.average.swap()
    if plan.keep_best and held_out is not None:
        load_best(checkpoints, model)
    model.eval()
    return run.losses


def _begin(model: nn.Module, plan: TrainPlan, checkpoints: Path) -> _Run:
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TrainingError(
            "a model in which nothing trains", "weights or an adapter", "use an adapter first"
        )
    optimizer = build_optimizer(
        model, plan.optimizer, plan.learning_rate, plan.weight_decay, plan.layer_decay
    )
    average = WeightAverage(model, plan.average) if plan.average else None
    run = _Run(model, optimizer, average, frozen_digest(model), checkpoints)
    run.restore()
    if run.step == 0 and plan.on_spike == "back":
        run.save()  # there has to be a step to go back to
    return run


def _advance(
    run: _Run,
    batches: Prefetch,
    source: BatchSource,
    plan: TrainPlan,
    choices: Choices,
    held_out: Batch | None,
    watch: Callable[[StepReport], None] | None,
    objective: Objective,
) -> None:
    """One step, its entry in the log, and what is due after it."""
    started_at = time.monotonic()
    step = run.step
    share = learning_rate_at(
        step, plan.num_steps, 1.0, plan.warmup, plan.final_learning_rate, plan.schedule
    )
    if step in run.skipped:
        run.losses.append({"step": step + 1, "loss": _recent(run.losses), "skipped": True})
        run.step += 1
        return
    batch = batches.batch(step)
    result = _take_step(run, batch, plan, choices, share, objective)
    if not result.updated:
        _refuse_step(run, source, plan, result, share)
        return
    run.step += 1
    if run.average is not None:
        run.average.update(run.step)
    entry: dict[str, Any] = {"step": run.step, "loss": result.loss}
    if held_out is not None and _is_point(run.step, plan):
        entry["held_out_loss"] = _measure(run, held_out, plan, choices, objective)
    run.losses.append(entry)
    if watch is not None:
        rate = batch.num_tokens / (time.monotonic() - started_at)
        watch(
            StepReport(
                run.step,
                plan.num_steps,
                result.loss,
                rate,
                result.gradient_norm,
                share * plan.learning_rate,
            )
        )


def _take_step(
    run: _Run,
    batch: Batch,
    plan: TrainPlan,
    choices: Choices,
    share: float,
    objective: Objective,
) -> StepResult:
    run.optimizer.set_share(share)
    # Dropout too is a function of the step. A seed beyond 32 bits would lose what is above them.
    torch.manual_seed(crc32(f"{plan.seed} {run.step}".encode()))
    return train_step(
        run.model,
        run.optimizer,
        batch,
        choices.micro_batch_sequences,
        choices.precision,
        plan.clip,
        objective,
        _largest(run.losses, plan),
    )


def _recent(losses: list[dict[str, Any]]) -> float:
    """Mean loss of the last steps."""
    recent: list[float] = [entry["loss"] for entry in losses[-RECENT_STEPS:]]
    return sum(recent) / len(recent)


def _largest(losses: list[dict[str, Any]], plan: TrainPlan) -> float:
    """The largest loss that is no spike."""
    return plan.spike * _recent(losses) if plan.spike and len(losses) >= RECENT_STEPS else inf


def _refuse_step(
    run: _Run, source: BatchSource, plan: TrainPlan, result: StepResult, share: float
) -> None:
    """Stop and name the batch, or go back to the last checkpoint and past the batch."""
    if plan.on_spike == "back" and run.losses:
        run.skipped.add(run.step)
        run.restore()
        return
    raise TrainingError(
        f"the loss of step {run.step + 1} is {result.loss:g}, of the batch with "
        f"{source.describe(run.step)}",
        "a finite number"
        if not isfinite(result.loss)
        else f"no more than {_largest(run.losses, plan):.3g}, {plan.spike:g} times the recent mean",
        f"look at that text, lower the learning rate (now {share * plan.learning_rate:.2g}), or "
        'set train.on_spike = "back"; the weights before this step are kept',
    )


def _is_point(step: int, plan: TrainPlan) -> bool:
    """Whether the held-out curve has a point there."""
    return step % max(1, plan.num_steps // NUM_HELD_OUT_POINTS) == 0 or step == plan.num_steps


def _measure(
    run: _Run, held_out: Batch, plan: TrainPlan, choices: Choices, objective: Objective
) -> float:
    """The held-out loss of what training would end with now; the best one's weights are kept."""
    if run.average is not None:
        run.average.swap()
    dropping = _has_dropout(run.model)
    if dropping:
        run.model.eval()
    loss = held_out_loss(run.model, held_out, choices, objective)
    if dropping:
        run.model.train()
    if plan.keep_best and loss < min(_points(run.losses), default=inf):
        save_best(run.folder, run.model)
    if run.average is not None:
        run.average.swap()
    return loss


def _has_dropout(model: nn.Module) -> bool:
    """Whether evaluation mode makes a difference; compiled code is made again for each mode."""
    config = getattr(model, "config", None)
    rates = asdict(config.dropout).values() if isinstance(config, ModelConfig) else ()
    head = getattr(model, "head_config", None)
    return any(rates) or (isinstance(head, HeadConfig) and head.dropout > 0)


def _points(losses: list[dict[str, Any]]) -> list[float]:
    return [entry["held_out_loss"] for entry in losses if "held_out_loss" in entry]


def _is_over(losses: list[dict[str, Any]], plan: TrainPlan) -> bool:
    """Whether the held-out loss has not fallen for as many points as the plan is patient."""
    points = _points(losses)
    if not plan.patience or len(points) <= plan.patience:
        return False
    return min(points[-plan.patience :]) >= min(points[: -plan.patience])
