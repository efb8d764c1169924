"""Normalisation of hidden vectors.

In: hidden vectors. Out: the same shape, each vector brought to one size, times a weight.
Legend: C width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from noria.model.config import ModelConfig


class RMSNorm(nn.Module):
    """x / sqrt(mean(x²) + epsilon) · weight (Zhang & Sennrich 2019)."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Float[Tensor, "... C"]) -> Float[Tensor, "... C"]:
        """Normalise the last dimension."""
        return F.rms_norm(x, self.weight.shape, self.weight, self.epsilon)


class LayerNorm(nn.Module):
    """(x - mean(x)) / sqrt(variance(x) + epsilon) · weight + bias (Ba et al. 2016)."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.epsilon = epsilon

    def forward(self, x: Float[Tensor, "... C"]) -> Float[Tensor, "... C"]:
        """Normalise the last dimension."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)


def build_norm(config: ModelConfig) -> RMSNorm | LayerNorm:
    """The config's norm of hidden vectors."""
    kind = RMSNorm if config.norm.kind == "rms" else LayerNorm
    return kind(config.width, config.norm.epsilon)
