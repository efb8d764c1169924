"""One optimizer step: a batch in, changed weights and the mean loss out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from math import isfinite

import torch
from torch import nn

from noria.train.batch import Batch
from noria.train.objectives.losses import Objective
from noria.train.optim import Optimizer
from noria.train.parallel import ALONE, Team, is_cut, whole
from noria.train.plan import Choices


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
    choices: Choices,
    objective: Objective,
    team: Team = ALONE,
) -> float:
    """Add the gradient of the batch's mean loss to the parameters; returns that loss (nats).

    Micro-batches are weighted by what they count: the sum over micro-batches of summed loss /
    count of the whole batch has the full batch's gradient, however uneven they are, and whichever
    process has read them.
    """
    num_counted = max(1, batch.num_counted)

    def loss_of(part: Batch, weight: float) -> torch.Tensor:
        return loss_sum(model, part, choices.precision, objective) / num_counted * weight

    parts = team.parts(batch, choices.micro_batch_sequences)
    if choices.parts_at_once > 1 and not is_cut(model):
        total = _add_at_once(model, parts, loss_of, choices)
    else:
        total = 0.0
        with nullcontext() if is_cut(model) else _casts_kept():
            for part, weight in parts:
                loss = loss_of(part, weight)
                loss.backward()  # type: ignore[no-untyped-call]
                total += float(loss.detach())
    team.sum_gradients(model)
    return team.total(total, next(model.parameters()).device)


def _add_at_once(
    model: nn.Module,
    parts: Sequence[tuple[Batch, float]],
    loss_of: Callable[[Batch, float], torch.Tensor],
    choices: Choices,
) -> float:
    """Gradients of several micro-batches at a time, each by its share of the threads.

    Short rows keep one core busy and not several: most of their operations are too small to be
    divided. The longest part comes first, so that the threads end together, and the sums are in
    that order whoever ends first. For models without randomness of their own.
    """
    trained = [one for one in model.parameters() if one.requires_grad]
    share = max(1, choices.num_threads // choices.parts_at_once)

    def gradients(part: Batch, weight: float) -> tuple[float, tuple[torch.Tensor | None, ...]]:
        with _casts_kept():
            loss = loss_of(part, weight)
            return float(loss.detach()), torch.autograd.grad(loss, trained, allow_unused=True)

    ordered = sorted(parts, key=lambda one: one[0].ids.shape[1], reverse=True)
    total = 0.0
    try:
        with ThreadPoolExecutor(
            choices.parts_at_once, initializer=torch.set_num_threads, initargs=(share,)
        ) as threads:
            for found in [threads.submit(gradients, *one) for one in ordered]:
                loss, slopes = found.result()
                total += loss
                for parameter, slope in zip(trained, slopes, strict=True):
                    if parameter.grad is None:
                        parameter.grad = slope
                    elif slope is not None:
                        parameter.grad.add_(slope)
    finally:
        torch.set_num_threads(choices.num_threads)  # the threads have set it for all that come
    return total


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
    choices: Choices,
    clip: float,
    objective: Objective,
    largest_loss: float = float("inf"),
    team: Team = ALONE,
) -> StepResult:
    """Accumulate, clip, update; a loss that is not finite or above the largest changes nothing."""
    loss = accumulate(model, batch, choices, objective, team)
    norm = float(whole(torch.nn.utils.clip_grad_norm_(model.parameters(), clip)))
    sound = isfinite(loss) and loss <= largest_loss
    if sound:
        optimizer.step()
    optimizer.zero_grad()
    return StepResult(loss, norm, updated=sound)
