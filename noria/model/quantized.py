"""Layers whose weights are 8-bit integers.

In: float layers, on the CPU or on torch's meta device (then only names and shapes count).
Out: layers of a quarter of the bytes. Each row of a matrix has one float32 scale, and
float weight ≈ integer · scale. Inputs and sums stay float.
Legend: O outputs (rows), I inputs, V vocabulary, C width.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Int8
from torch import Tensor, nn

from noria.model.embedding import TokenEmbedding
from noria.model.transformer import ModelT

INT8_MAX = 127


def quantize_rows(weight: Float[Tensor, "O I"]) -> tuple[Int8[Tensor, "O I"], Float[Tensor, " O"]]:
    """Round each row to integers in [-127, 127]; returns them and a float32 scale for each row.

    Symmetric: the largest magnitude of a row becomes 127, so the error is at most half a scale.
    """
    scale = weight.detach().float().abs().amax(dim=1) / INT8_MAX
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))  # a row of zeros stays zeros
    rounded = (weight.detach().float() / scale[:, None]).round()
    return rounded.clamp(-INT8_MAX, INT8_MAX).to(torch.int8), scale


class _IntegerProduct(torch.autograd.Function):
    """x · integersᵀ, keeping the integers for the backward pass and not a float copy of them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return F.linear(x, weight.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (slope,) = grad_outputs
        (weight,) = ctx.saved_tensors
        return slope @ weight.to(slope.dtype), None


def int8_linear(
    x: Float[Tensor, "... I"],
    weight: Int8[Tensor, "O I"],
    scale: Float[Tensor, " O"],
    bias: Float[Tensor, " O"] | None,
) -> Float[Tensor, "... O"]:
    """(x · integersᵀ) · scale + bias; under autocast in its number type, with a gradient by x."""
    device = x.device.type
    if torch.is_autocast_enabled(device):
        x = x.to(torch.get_autocast_dtype(device))
    if torch.is_grad_enabled() and x.requires_grad:
        y: Tensor = _IntegerProduct.apply(x, weight)  # type: ignore[no-untyped-call]
    else:
        y = F.linear(x, weight.to(x.dtype))
    # Scaled after the product: O multiplications a token in place of O · I.
    y = y * scale.to(x.dtype)
    return y if bias is None else y + bias.to(x.dtype)


class Int8Linear(nn.Module):
    """y = (x · integersᵀ) · scale + bias; the bias stays float."""

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = quantize_rows(linear.weight)
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def floats(self) -> Float[Tensor, "O I"]:
        """What the integers stand for, in float32."""
        return self.weight.float() * self.scale[:, None]

    def forward(self, x: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        """As nn.Linear's."""
        return int8_linear(x, self.weight, self.scale, self.bias)


class Int8Embedding(nn.Module):
    """Token vectors as integers; a row is a token's vector and its output channel alike.

    So one scale a token serves both the look-up and, when tied, the scoring layer.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, embedding: TokenEmbedding) -> None:
        super().__init__()
        weight, scale = quantize_rows(embedding.weight)
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)

    def floats(self) -> Float[Tensor, "V C"]:
        """What the integers stand for, in float32."""
        return self.weight.float() * self.scale[:, None]

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T C"]:
        """A look-up, in float32."""
        rows = F.embedding(ids, self.weight).float()
        return rows * F.embedding(ids, self.scale[:, None])

    def scores(self, hidden: Float[Tensor, "... C"]) -> Float[Tensor, "... V"]:
        """The product of each hidden vector with each token's vector."""
        return F.linear(hidden, self.weight.to(hidden.dtype)) * self.scale.to(hidden.dtype)


def to_int8(model: ModelT) -> ModelT:
    """Replace every matrix of a float model by its int8 layer, in place.

    Norms, biases and T5's relative positions stay float32.
    """
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, Int8Linear(child))
            elif isinstance(child, TokenEmbedding):
                setattr(module, name, Int8Embedding(child))
    model.quantization = "int8"
    model.requires_grad_(False)
    return model
