"""Rotary positions: queries and keys are turned by an angle that grows with the position.

In: positions and head width. Out: tables of cosines and sines; queries and keys turned by them.
Legend: B batch, T tokens, H heads, D head width, S longest sequence.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotary_table(context_tokens: int, head_width: int, base: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of position · base^(-2i/D), each (S, D/2) in float32, always on the CPU.

    Su et al. 2021 (RoFormer), equation 15. The device is named so that a model that is laid out on
    torch's meta device still gets real tables.
    """
    exponents = torch.arange(0, head_width, 2, dtype=torch.int64, device="cpu").float() / head_width
    frequencies = 1.0 / (base**exponents)
    positions = torch.arange(context_tokens, device="cpu").float()
    angles = torch.outer(positions, frequencies)  # (S, D/2)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs (i, i + D/2) of each head, the pairing of Llama's published weights.

    x: (B, T, H, D); cos, sin: (T, 1, D/2). Returns x's shape and type.
    """
    first, second = x.chunk(2, dim=-1)  # (B, T, H, D/2) each
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)
