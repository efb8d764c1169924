"""One optimizer step: a batch in, changed weights and the mean loss out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from math import isfinite

import torch
from torch import nn

from noria.train.batch import Batch
from noria.train.objectives.losses import Objective
from noria.train.optim import Optimizer
from noria.train.parallel import ALONE, Team, is_cut, whole


@dataclass(frozen=True)
class StepResult:
    """Mean loss in nats of what the batch counts, the gradient's norm before clipping, and whether
    the weights were changed."""

    loss: float
    gradient_norm: float
    updated: bool


def loss_sum(model: nn.Module, batch: Batch, precision: str, objective: Objective) -> torch.Tensor:
    """The batch's summed loss (nats), with its graph."""
    device = next(model.parameters()).device
    batch = batch.to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        return objective(model, batch)


def accumulate(
    model: nn.Module,
    batch: Batch,
    micro_batch_sequences: int,
    precision: str,
    objective: Objective,
    team: Team = ALONE,
) -> float:
    """Add the gradient of the batch's mean loss to the parameters; returns that loss (nats).

    Micro-batches are weighted by what they count: the sum over micro-batches of summed loss /
    count of the whole batch has the full batch's gradient, however uneven they are, and whichever
    process has read them.
    """
    num_counted = max(1, batch.num_counted)
    total = 0.0
    with nullcontext() if is_cut(model) else _casts_kept():
        for part, weight in team.parts(batch, micro_batch_sequences):
            loss = loss_sum(model, part, precision, objective) / num_counted * weight
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
    team.sum_gradients(model)
    return team.total(total, next(model.parameters()).device)


@contextmanager
def _casts_kept() -> Iterator[None]:
    """Keep autocast's short copies of weights, which do not change between micro-batches."""
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()


def train_step(
    model: nn.Module,
    optimizer: Optimizer,
    batch: Batch,
    micro_batch_sequences: int,
    precision: str,
    clip: float,
    objective: Objective,
    largest_loss: float = float("inf"),
    team: Team = ALONE,
) -> StepResult:
    """Accumulate, clip, update; a loss that is not finite or above the largest changes nothing."""
    loss = accumulate(model, batch, micro_batch_sequences, precision, objective, team)
    norm = float(whole(torch.nn.utils.clip_grad_norm_(model.parameters(), clip)))
    sound = isfinite(loss) and loss <= largest_loss
    if sound:
        optimizer.step()
    optimizer.zero_grad()
    return StepResult(loss, norm, updated=sound)
