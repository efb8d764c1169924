"""The gated feed-forward layer.

In: hidden vectors. Out: hidden vectors, each computed from its own position only.
Legend: B batch, T tokens, C width, F feed-forward width.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from noria.model.config import ModelConfig


class FeedForward(nn.Module):
    """down(silu(gate(x)) · up(x)), the SwiGLU of Shazeer 2020."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(config.width, config.ffn_width, bias=False)
        self.up = nn.Linear(config.width, config.ffn_width, bias=False)
        self.down = nn.Linear(config.ffn_width, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C), by way of (B, T, F)."""
        return self.down(F.silu(self.gate(x)) * self.up(x))  # type: ignore[no-any-return]
