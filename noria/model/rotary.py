"""Rotary positions: queries and keys are turned by an angle that grows with the place.

In: places and head width. Out: tables of cosines and sines; queries and keys turned by them.
Legend: B batch, T tokens, H heads, D head width, S longest sequence.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from noria.model.styles import Positions


def rotary_table(
    context_tokens: int, head_width: int, positions: Positions
) -> tuple[Float[Tensor, "S half_D"], Float[Tensor, "S half_D"]]:
    """Cosines and sines of place · base^(-2i/D), each (S, D/2) in float32, always on the CPU.

    Su et al. 2021 (RoFormer), equation 15. Scaling: "linear" divides places by the factor (Chen et
    al. 2023, Position Interpolation); "ntk" leaves fast pairs alone and stretches the slowest by
    the factor, by a larger base (bloc97 2023, NTK-aware; Peng et al. 2023, YaRN, section 3.1). The
    device is named so that a model that is laid out on torch's meta device still gets real tables.
    """
    exponents = torch.arange(0, head_width, 2, dtype=torch.int64, device="cpu").float() / head_width
    frequencies = 1.0 / (scaled_base(head_width, positions) ** exponents)
    if positions.scaling == "linear":
        frequencies = frequencies / positions.factor
    places = torch.arange(context_tokens, device="cpu").float()
    angles = torch.outer(places, frequencies)  # (S, D/2)
    return angles.cos(), angles.sin()


def scaled_base(head_width: int, positions: Positions) -> float:
    """The base that the angles are computed with: under "ntk", base · factor^(D / (D - 2))."""
    if positions.scaling != "ntk" or head_width <= 2:
        return positions.base
    return float(positions.base * positions.factor ** (head_width / (head_width - 2)))


def rotate(
    x: Float[Tensor, "B T H D"],
    cos: Float[Tensor, "#B T 1 half_D"],
    sin: Float[Tensor, "#B T 1 half_D"],
) -> Float[Tensor, "B T H D"]:
    """Turn the pairs (i, i + D/2) of each head, the pairing of Llama's published weights.

    cos, sin: of each token's place, alike for all heads. Returns x's shape and type.
    """
    first, second = x.chunk(2, dim=-1)  # (B, T, H, D/2) each
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)
