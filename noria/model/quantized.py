"""Layers whose weights are 8-bit integers.

In: float layers, on the CPU or on torch's meta device (then only names and shapes count).
Out: layers of a quarter of the bytes. Each row of a matrix has one float32 scale, and
float weight ≈ integer · scale. Inputs and sums stay float.
Legend: O outputs (rows), I inputs, V vocabulary, C width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noria.model.embedding import TokenEmbedding
from noria.model.transformer import Decoder

INT8_MAX = 127


def quantize_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Round each row to integers in [-127, 127]; (O, I) float -> (O, I) int8, (O,) float32 scales.

    Symmetric: the largest magnitude of a row becomes 127, so the error is at most half a scale.
    """
    scale = weight.detach().float().abs().amax(dim=1) / INT8_MAX
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))  # a row of zeros stays zeros
    rounded = (weight.detach().float() / scale[:, None]).round()
    return rounded.clamp(-INT8_MAX, INT8_MAX).to(torch.int8), scale


class Int8Linear(nn.Module):
    """y = (x · integersᵀ) · scale. (…, I) -> (…, O)."""

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = quantize_rows(linear.weight)
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        """Scale after the product: O multiplications a token in place of O · I."""
        return F.linear(x, self.weight.to(x.dtype)) * self.scale.to(x.dtype)


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

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) int64 -> (B, T, C) float32."""
        rows = F.embedding(ids, self.weight).float()
        return rows * F.embedding(ids, self.scale[:, None])

    def scores(self, hidden: Tensor) -> Tensor:
        """(…, C) -> (…, V)."""
        return F.linear(hidden, self.weight.to(hidden.dtype)) * self.scale.to(hidden.dtype)


def to_int8(model: Decoder) -> Decoder:
    """Replace every matrix of a float model by its int8 layer, in place; norms stay float32."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, Int8Linear(child))
            elif isinstance(child, TokenEmbedding):
                setattr(module, name, Int8Embedding(child))
    model.quantization = "int8"
    return model.requires_grad_(False)
