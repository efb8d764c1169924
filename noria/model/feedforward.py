"""The feed-forward layer.

In: hidden vectors. Out: hidden vectors, each computed from its own position only.
Legend: B batch, T tokens, C width, F feed-forward width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from noria.model.config import ModelConfig

ACTIVATION_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,  # Vaswani et al. 2017
    "gelu": F.gelu,  # Hendrycks & Gimpel 2016
    "gelu-tanh": partial(F.gelu, approximate="tanh"),  # the same paper's approximation, GPT-2's
    "silu": F.silu,  # Elfwing et al. 2017
}


class FeedForward(nn.Module):
    """down(f(up(x))), or gated down(f(gate(x)) · up(x)): SwiGLU, GeGLU (Shazeer 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        style, width, ffn_width = config.feedforward, config.width, config.ffn_width
        self.activation = ACTIVATION_FUNCTIONS[style.activation]
        self.dropout = config.dropout.activation
        self.gate = nn.Linear(width, ffn_width, bias=style.bias) if style.gated else None
        self.up = nn.Linear(width, ffn_width, bias=style.bias)
        self.down = nn.Linear(ffn_width, width, bias=style.bias)
        self.together: Callable[[Tensor], Sequence[Tensor]] | None = None  # gate and up in one

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        """(B, T, C) -> (B, T, C), by way of (B, T, F)."""
        if self.gate is None:
            inner = self.activation(self.up(x))
        else:
            gate, up = self.together(x) if self.together is not None else (self.gate(x), self.up(x))
            inner = self.activation(gate) * up
        inner = F.dropout(inner, self.dropout, self.training)
        return self.down(inner)  # type: ignore[no-any-return]
