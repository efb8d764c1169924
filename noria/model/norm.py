"""Root-mean-square normalisation.

In: hidden vectors. Out: the same shape, each vector scaled to root mean square 1, times a weight.
Legend: C width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """x / sqrt(mean(x²) + epsilon) · weight (Zhang & Sennrich 2019). (…, C) -> (…, C)."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        return F.rms_norm(x, self.weight.shape, self.weight, self.epsilon)
