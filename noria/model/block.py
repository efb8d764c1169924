"""One layer of the stack: attention, maybe cross-attention, then feed-forward, each added back.

In and out: hidden vectors. Legend: B batch, T tokens, S an encoder's tokens, C width.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from noria.model.attention import Attention
from noria.model.cache import KVCache, RaggedCache
from noria.model.config import ModelConfig
from noria.model.feedforward import FeedForward
from noria.model.masks import WHOLE_SOURCE, Reading
from noria.model.norm import build_norm


class Block(nn.Module):
    """Residual sublayers (He et al. 2015), with the norm before each, so that the sum stays as it
    is (Xiong et al. 2020), or after each sum (Vaswani et al. 2017)."""

    def __init__(self, config: ModelConfig, layer: int, *, crosses: bool = False) -> None:
        super().__init__()
        self.before = config.norm.place == "before"
        self.dropout = config.dropout.hidden
        self.attention_norm = build_norm(config)
        self.attention = Attention(config, layer)
        self.cross_attention_norm = build_norm(config) if crosses else None
        self.cross_attention = Attention(config, layer) if crosses else None
        self.feedforward_norm = build_norm(config)
        self.feedforward = FeedForward(config)

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        reading: Reading,
        cache: KVCache | RaggedCache | None = None,
        memory: tuple[Float[Tensor, "B S C"], Reading] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """memory: an encoder's output and how it is read, for a block that crosses.

        A ragged cache has the sources of its sequences itself.
        """
        if not self.before:
            x = self.attention_norm(x + self._drop(self.attention(x, reading, cache)))
            if self.cross_attention is not None:
                read = self._crossed(self.cross_attention, x, cache, memory)
                x = self.cross_attention_norm(x + self._drop(read))  # type: ignore[misc]
            return self.feedforward_norm(x + self._drop(self.feedforward(x)))  # type: ignore[no-any-return]
        x = x + self._drop(self.attention(self.attention_norm(x), reading, cache))
        if self.cross_attention is not None:
            asking = self.cross_attention_norm(x)  # type: ignore[misc]
            x = x + self._drop(self._crossed(self.cross_attention, asking, cache, memory))
        return x + self._drop(self.feedforward(self.feedforward_norm(x)))

    @staticmethod
    def _crossed(
        attention: Attention,
        x: Float[Tensor, "B T C"],
        cache: KVCache | RaggedCache | None,
        memory: tuple[Float[Tensor, "B S C"], Reading] | None,
    ) -> Float[Tensor, "B T C"]:
        if cache is None or isinstance(cache, KVCache):
            assert memory is not None
            return attention.cross(x, *memory, cache)
        return attention.cross_ragged(x, WHOLE_SOURCE, cache)

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)
