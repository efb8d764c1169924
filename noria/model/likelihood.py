"""How surprised a model is by the tokens that come: hidden vectors and targets in, nats out.

The logits of a chunk of tokens exist at a time, never those of the whole batch, in the forward
pass and in the backward pass alike; tokens that do not count get none, and a frozen matrix gets no
gradient. This module does not know where targets come from.
Legend: N tokens of all sequences, C width, V vocabulary.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from noria.model import cost


@runtime_checkable
class Scores(Protocol):
    """What turns hidden vectors into scores: a decoder's output, a masked language model's."""

    def before_output(self, hidden: Float[Tensor, "... C"], /) -> Float[Tensor, "... C"]:
        """What is multiplied with the output matrix."""
        ...

    def output_weight(self) -> Float[Tensor, "V C"]:
        """The output matrix."""
        ...

    def output_bias(self) -> Float[Tensor, " V"] | None:
        """What is added to the product, if anything is."""
        ...

    def logits(self, hidden: Float[Tensor, "... C"], /) -> Float[Tensor, "... V"]:
        """All of it; the layers may be of integers."""
        ...


def cross_entropy_sum(
    model: Scores,
    hidden: Float[Tensor, "B T C"],
    targets: Int[Tensor, "B T"],
    mask: Shaped[Tensor, "B T"],
    smoothing: float = 0.0,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Sum of -ln P(target) over the tokens where mask is 1, and how many those are.

    Returns two float32 scalars; the first has a gradient. Log-softmax is taken in float32.
    smoothing: this share of the target is spread over the whole vocabulary (Szegedy et al. 2016,
    section 7).
    """
    flat = hidden.reshape(-1, hidden.shape[-1])  # (N, C)
    weights = mask.reshape(-1).float()
    targets = targets.reshape(-1)
    if not torch.compiler.is_compiling():  # a compiler wants shapes that depend on no value
        counted = weights.nonzero().squeeze(-1)
        flat = flat.index_select(0, counted)
        targets, weights = targets[counted], weights[counted]
    if torch.is_grad_enabled() and hidden.requires_grad:
        states, matrix = model.before_output(flat), model.output_weight()
        total: Tensor = _SummedLoss.apply(  # type: ignore[no-untyped-call]
            states, matrix, model.output_bias(), targets, weights, smoothing
        )
    else:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        for start in range(0, flat.shape[0], cost.CHUNK_TOKENS):
            part = slice(start, start + cost.CHUNK_TOKENS)
            losses = token_losses(model.logits(flat[part]), targets[part], smoothing)
            total = total + (losses * weights[part]).sum()
    return total, weights.sum()


def token_losses(
    logits: Float[Tensor, "N V"], targets: Int[Tensor, " N"], smoothing: float = 0.0
) -> Float[Tensor, " N"]:
    """-ln P(target) of each token, float32; smoothed as `cross_entropy_sum` says."""
    logits = logits.float()
    wanted = logits.gather(-1, targets[:, None]).squeeze(-1)
    if smoothing:
        wanted = torch.lerp(wanted, logits.mean(dim=-1), smoothing)
    return torch.logsumexp(logits, dim=-1) - wanted


class _SummedLoss(torch.autograd.Function):
    """The loss and, in the same pass over the chunks, its gradients.

    The gradient of the sum by the logits is (softmax - target) · weight, the target a one-hot or
    its smoothed form; it is turned into the gradients by hidden and weight at once, so that no
    chunk of logits is kept or computed twice.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        weights: Tensor,
        smoothing: float,
    ) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        by_hidden = torch.empty_like(hidden)
        by_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        by_bias = torch.zeros_like(bias) if bias is not None else None
        matrix = weight
        if torch.is_autocast_enabled(hidden.device.type):
            matrix = weight.to(torch.get_autocast_dtype(hidden.device.type))
        step = cost.chunk_tokens(len(matrix))
        for start in range(0, hidden.shape[0], step):
            part = slice(start, start + step)
            states, ids, counts = hidden[part].to(matrix.dtype), targets[part, None], weights[part]
            logits = (states @ matrix.T).float()  # (chunk, V)
            if bias is not None:
                logits += bias
            wanted = logits.gather(-1, ids)
            if smoothing:
                wanted = torch.lerp(wanted, logits.mean(dim=-1, keepdim=True), smoothing)
            largest = logits.amax(dim=-1, keepdim=True)
            slope = logits.sub_(largest).exp_()
            sums = slope.sum(dim=-1, keepdim=True)
            losses = (sums.log() + largest - wanted).squeeze(-1)
            total = total + (losses * counts).sum()
            slope.mul_(counts[:, None] / sums)
            slope.scatter_add_(-1, ids, -(1 - smoothing) * counts[:, None])
            if smoothing:
                slope -= smoothing / slope.shape[-1] * counts[:, None]
            if by_bias is not None:
                by_bias += slope.sum(dim=0)
            slope = slope.to(matrix.dtype)
            by_hidden[part] = (slope @ matrix).to(hidden.dtype)
            if by_weight is not None:
                by_weight += slope.T @ states
        ctx.save_for_backward(by_hidden, by_weight, by_bias)
        return total

    @staticmethod
    def backward(
        ctx: Any, *grad_outputs: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None, None, None, None]:
        (slope,) = grad_outputs
        by_hidden, by_weight, by_bias = ctx.saved_tensors
        by_weight = None if by_weight is None else by_weight * slope
        by_bias = None if by_bias is None else by_bias * slope
        return by_hidden * slope.to(by_hidden.dtype), by_weight, by_bias, None, None, None
