"""One layer of the stack: attention, then feed-forward, each on a normalised copy and added back.

In and out: hidden vectors (B, T, C). Legend: B batch, T tokens, C width.
"""

from __future__ import annotations

from torch import Tensor, nn

from noria.model.attention import Attention
from noria.model.cache import KVCache
from noria.model.config import ModelConfig
from noria.model.feedforward import FeedForward
from noria.model.norm import RMSNorm


class Block(nn.Module):
    """Pre-norm residual block (Xiong et al. 2020), as in Llama."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width, config.norm_epsilon)
        self.attention = Attention(config, layer)
        self.feedforward_norm = RMSNorm(config.width, config.norm_epsilon)
        self.feedforward = FeedForward(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, cache: KVCache | None) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        x = x + self.attention(self.attention_norm(x), cos, sin, cache)
        return x + self.feedforward(self.feedforward_norm(x))  # type: ignore[no-any-return]
