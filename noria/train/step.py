"""One optimizer step: a batch in, changed weights and the mean loss out."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from noria.model.likelihood import cross_entropy_sum
from noria.model.transformer import Decoder
from noria.train.batches import Batch
from noria.train.optim import Optimizer


@dataclass(frozen=True)
class StepResult:
    """Mean loss in nats per trained token, and the gradient's norm before clipping."""

    loss: float
    gradient_norm: float


def loss_sum(model: Decoder, batch: Batch, precision: str) -> torch.Tensor:
    """Summed negative log-likelihood (nats) of the batch's counted targets, with its graph."""
    device = next(model.parameters()).device
    batch = batch.to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        hidden = model(batch.ids)  # (B, T, C)
        total, _ = cross_entropy_sum(model, hidden, batch.targets, batch.mask)
    return total


def accumulate(model: Decoder, batch: Batch, micro_batch_sequences: int, precision: str) -> float:
    """Add the gradient of the batch's mean loss to the parameters; returns that loss (nats).

    Micro-batches are weighted by their counted tokens: the sum over micro-batches of
    summed loss / tokens of the whole batch has the full batch's gradient, however uneven they are.
    """
    num_tokens = max(1, batch.num_trained_tokens)
    total = 0.0
    for part in batch.split(micro_batch_sequences):
        loss = loss_sum(model, part, precision) / num_tokens
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return total


def train_step(
    model: Decoder,
    optimizer: Optimizer,
    batch: Batch,
    micro_batch_sequences: int,
    precision: str,
    clip: float,
) -> StepResult:
    """Accumulate, clip, update. A loss that is not finite changes no weight."""
    loss = accumulate(model, batch, micro_batch_sequences, precision)
    norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), clip))
    if loss == loss and abs(loss) != float("inf"):
        optimizer.step()
    optimizer.zero_grad()
    return StepResult(loss, norm)
