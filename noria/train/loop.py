"""Model, data and plan in; trained weights and a loss log out; interruptible, resumed exactly.

A kill at any moment loses at most the time since the last checkpoint, and never a bit: the
resumed run ends with the weights of the uninterrupted one (same choices, same machine, as many
processes). This module knows neither the recipe, nor what the tokens mean, nor what is learned.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf, isfinite
from pathlib import Path
from typing import Any, Protocol
from zlib import crc32

import torch
from torch import nn

from noria.errors import Interrupted, TrainingError
from noria.runtime import release_memory
from noria.train.average import WeightAverage
from noria.train.batch import Batch
from noria.train.blocks import compile_blocks, has_dropout, recompute_blocks
from noria.train.casting import cast_once
from noria.train.checkpoint import (
    frozen_digest,
    load_best,
    load_latest_checkpoint,
    save_best,
    save_checkpoint,
)
from noria.train.loss_log import is_over, is_point, largest_loss, points, recent_loss
from noria.train.objectives.losses import Objective, next_token
from noria.train.optim import Optimizer, build_optimizer
from noria.train.parallel import (
    ALONE,
    Signals,
    Team,
    forget_copies,
    put_together,
    sharded,
    working_copy,
)
from noria.train.plan import Choices, StepReport, TrainPlan
from noria.train.prefetch import Prefetch
from noria.train.schedule import learning_rate_at
from noria.train.step import StepResult, loss_sum, train_step

CHECKPOINT_EVERY_S = 15.0
GO_ON, SAVE, STOP = 0, 1, 2  # what processes agree on after each step; the largest wish is granted


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
    source: BatchSource
    plan: TrainPlan
    choices: Choices
    objective: Objective
    held_out: Batch | None
    optimizer: Optimizer
    average: WeightAverage | None
    frozen: str
    folder: Path
    team: Team
    step: int = 0
    losses: list[dict[str, Any]] = field(default_factory=list)
    skipped: set[int] = field(default_factory=set)
    saved_at: float = field(default_factory=time.monotonic)

    def save(self) -> None:
        mean = None if self.average is None else self.average.tensors
        save_checkpoint(
            self.folder,
            self.model,
            self.optimizer,
            self.step,
            self.losses,
            self.frozen,
            mean,
            self.team,
        )
        release_memory()  # rows of many lengths leave a heap full of gaps
        self.saved_at = time.monotonic()

    def restore(self) -> None:
        progress = load_latest_checkpoint(self.folder, self.model, self.optimizer, self.frozen)
        self.step, self.losses = progress.step, list(progress.losses)
        if self.average is not None and progress.average is not None:
            self.average.restore(progress.average)

    @property
    def is_over(self) -> bool:
        return self.step >= self.plan.num_steps or is_over(self.losses, self.plan)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device


def held_out_loss(
    model: nn.Module, batch: Batch, choices: Choices, objective: Objective, team: Team = ALONE
) -> float:
    """Mean loss (nats) of a batch, by the same compiled code that trains, without dropout."""
    parts = team.parts(batch, choices.micro_batch_sequences)
    losses = (
        weight * float(loss_sum(model, part, choices.precision, objective).detach())
        for part, weight in parts
    )
    device = next(model.parameters()).device
    return team.total(sum(losses), device) / max(1, batch.num_counted)


def train(
    model: nn.Module,
    source: BatchSource,
    plan: TrainPlan,
    choices: Choices,
    checkpoints: Path,
    held_out: Batch | None = None,
    watch: Callable[[StepReport], None] | None = None,
    objective: Objective | None = None,
    team: Team = ALONE,
) -> list[dict[str, Any]]:
    """Train in place, from the newest checkpoint if there is one; returns the loss log.

    objective: next_token if none is given. Each entry of the log has `step` and `loss` (nats), some
    have `held_out_loss`; one that was passed over has `skipped`. Every process of a team calls this
    with the same arguments and the same folder; a checkpoint of N processes goes on with any
    number of them.
    Raises TrainingError if the loss stops being a number or spikes, naming the batch; Interrupted
    after Ctrl-C; the checkpoint written then is where the same call goes on.
    """
    run = _begin(
        model, source, plan, choices, checkpoints, held_out, objective or next_token(), team
    )
    with (
        cast_once(run.model, choices.precision),
        Prefetch(source.batch) as batches,
        Signals().heeded(team) as signals,
    ):
        try:
            while not run.is_over:
                _advance(run, batches, watch)
                wish = _agree(run, signals)
                if wish >= SAVE:
                    run.save()
                if wish == STOP:
                    raise _interrupted(run)
        except KeyboardInterrupt as interrupt:
            if len(run.losses) == run.step:  # between steps, or before the update of this one
                run.save()
            raise _interrupted(run) from interrupt
    if run.average is not None:
        run.average.swap()
    if plan.keep_best and held_out is not None:
        load_best(checkpoints, run.model)
    put_together(run.model, model)
    model.eval()
    return run.losses


def _begin(
    model: nn.Module,
    source: BatchSource,
    plan: TrainPlan,
    choices: Choices,
    checkpoints: Path,
    held_out: Batch | None,
    objective: Objective,
    team: Team,
) -> _Run:
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TrainingError(
            "a model in which nothing trains", "weights or an adapter", "use an adapter first"
        )
    frozen = frozen_digest(model)
    working = working_copy(model, team, shard=plan.shard)
    working.train()
    if plan.recompute:
        recompute_blocks(working)
    if choices.compile:
        compile_blocks(working)
    if working is not model:
        sharded(working, team)
    optimizer = build_optimizer(
        working, plan.optimizer, plan.learning_rate, plan.weight_decay, plan.layer_decay
    )
    average = WeightAverage(working, plan.average) if plan.average else None
    run = _Run(
        working,
        source,
        plan,
        choices,
        objective,
        held_out,
        optimizer,
        average,
        frozen,
        checkpoints,
        team,
    )
    run.restore()
    if run.step == 0 and plan.on_spike == "back":
        run.save()  # there has to be a step to go back to
    return run


def _agree(run: _Run, signals: Signals) -> int:
    """What every process does after this step."""
    due = run.team.is_first and time.monotonic() - run.saved_at > CHECKPOINT_EVERY_S
    wish = STOP if signals.stop else SAVE if due else GO_ON
    return int(run.team.most(wish, run.device))


def _interrupted(run: _Run) -> Interrupted:
    return Interrupted(
        f"stopped at step {run.step} of {run.plan.num_steps}",
        fix="run the same command again to go on from there",
    )


def _advance(run: _Run, batches: Prefetch, watch: Callable[[StepReport], None] | None) -> None:
    """One step, its entry in the log, and what is due after it."""
    started_at = time.monotonic()
    step, plan = run.step, run.plan
    share = learning_rate_at(
        step, plan.num_steps, 1.0, plan.warmup, plan.final_learning_rate, plan.schedule
    )
    if step in run.skipped:
        run.losses.append({"step": step + 1, "loss": recent_loss(run.losses), "skipped": True})
        run.step += 1
        return
    batch = batches.batch(step)
    result = _take_step(run, batch, share)
    if not result.updated:
        _refuse_step(run, result, share)
        return
    run.step += 1
    if run.average is not None:
        run.average.update(run.step)
    entry: dict[str, Any] = {"step": run.step, "loss": result.loss}
    if run.held_out is not None and is_point(run.step, plan):
        entry["held_out_loss"] = _measure(run, run.held_out)
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
                entry.get("held_out_loss"),
            )
        )


def _take_step(run: _Run, batch: Batch, share: float) -> StepResult:
    run.optimizer.set_share(share)
    # Dropout too is a function of the step. A seed beyond 32 bits would lose what is above them.
    place = f" {run.team.rank}" if run.team.rank else ""
    torch.manual_seed(crc32(f"{run.plan.seed} {run.step}{place}".encode()))
    return train_step(
        run.model,
        run.optimizer,
        batch,
        run.choices,
        run.plan.clip,
        run.objective,
        largest_loss(run.losses, run.plan),
        run.team,
    )


def _refuse_step(run: _Run, result: StepResult, share: float) -> None:
    """Stop and name the batch, or go back to the last checkpoint and past the batch."""
    plan = run.plan
    if plan.on_spike == "back" and run.losses:
        run.skipped.add(run.step)
        run.restore()
        return
    raise TrainingError(
        f"the loss of step {run.step + 1} is {result.loss:g}, of the batch with "
        f"{run.source.describe(run.step)}",
        "a finite number"
        if not isfinite(result.loss)
        else f"no more than {largest_loss(run.losses, plan):.3g}, {plan.spike:g} times the recent "
        "mean",
        f"look at that text, lower the learning rate (now {share * plan.learning_rate:.2g}), or "
        'set train.on_spike = "back"; the weights before this step are kept',
    )


def _measure(run: _Run, held_out: Batch) -> float:
    """The held-out loss of what training would end with now; the best one's weights are kept."""
    if run.average is not None:
        run.average.swap()
    dropping = has_dropout(run.model)
    if dropping:
        run.model.eval()
    loss = held_out_loss(run.model, held_out, run.choices, run.objective, run.team)
    forget_copies(run.model)
    if dropping:
        run.model.train()
    if run.plan.keep_best and loss < min(points(run.losses), default=inf):
        save_best(run.folder, run.model, run.team)
    if run.average is not None:
        run.average.swap()
    return loss
