"""How surprised a model is by the tokens that come: hidden vectors and targets in, nats out.

The logits of a chunk of tokens exist at a time, never those of the whole batch, in the forward
pass and in the backward pass alike; tokens that do not count get none, and a frozen matrix gets no
gradient. This module does not know where targets come from.
Legend: N tokens of all sequences, C width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from noria.model.cost import CHUNK_TOKENS
from noria.model.transformer import Decoder


def cross_entropy_sum(
    model: Decoder, hidden: Tensor, targets: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Sum of -ln P(target) over the tokens where mask is 1, and how many those are.

    hidden: (B, T, C); targets: (B, T) int64; mask: (B, T), 1 where the loss counts.
    Returns two float32 scalars; the first has a gradient. Log-softmax is taken in float32.
    """
    flat = hidden.reshape(-1, hidden.shape[-1])  # (N, C)
    weights = mask.reshape(-1).float()
    targets = targets.reshape(-1)
    if not torch.compiler.is_compiling():  # a compiler wants shapes that depend on no value
        counted = weights.nonzero().squeeze(-1)
        flat = flat.index_select(0, counted)
        targets, weights = targets[counted], weights[counted]
    if torch.is_grad_enabled() and hidden.requires_grad:
        matrix = model.output_weight()
        total: Tensor = _SummedLoss.apply(flat, matrix, targets, weights)  # type: ignore[no-untyped-call]
    else:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        for start in range(0, flat.shape[0], CHUNK_TOKENS):
            part = slice(start, start + CHUNK_TOKENS)
            losses = token_losses(model.logits(flat[part]), targets[part])
            total = total + (losses * weights[part]).sum()
    return total, weights.sum()


def token_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """-ln P(target) of each token, float32. logits: (N, V); targets: (N,) -> (N,)."""
    logits = logits.float()
    chosen = logits.gather(-1, targets[:, None]).squeeze(-1)
    return torch.logsumexp(logits, dim=-1) - chosen


class _SummedLoss(torch.autograd.Function):
    """The loss and, in the same pass over the chunks, its gradients.

    The gradient of the sum by the logits is (softmax - one-hot) · weight; it is turned into the
    gradients by hidden and weight at once, so that no chunk of logits is kept or computed twice.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, weights: Tensor
    ) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        by_hidden = torch.empty_like(hidden)
        by_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        matrix = weight
        if torch.is_autocast_enabled(hidden.device.type):
            matrix = weight.to(torch.get_autocast_dtype(hidden.device.type))
        for start in range(0, hidden.shape[0], CHUNK_TOKENS):
            part = slice(start, start + CHUNK_TOKENS)
            states, ids, counts = hidden[part].to(matrix.dtype), targets[part, None], weights[part]
            logits = (states @ matrix.T).float()  # (chunk, V)
            chosen = logits.gather(-1, ids)
            largest = logits.amax(dim=-1, keepdim=True)
            slope = logits.sub_(largest).exp_()
            sums = slope.sum(dim=-1, keepdim=True)
            losses = (sums.log() + largest - chosen).squeeze(-1)
            total = total + (losses * counts).sum()
            slope.mul_(counts[:, None] / sums).scatter_add_(-1, ids, -counts[:, None])
            slope = slope.to(matrix.dtype)
            by_hidden[part] = (slope @ matrix).to(hidden.dtype)
            if by_weight is not None:
                by_weight += slope.T @ states
        ctx.save_for_backward(by_hidden, by_weight)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        (slope,) = grad_outputs
        by_hidden, by_weight = ctx.saved_tensors
        scaled = None if by_weight is None else by_weight * slope
        return by_hidden * slope.to(by_hidden.dtype), scaled, None, None
