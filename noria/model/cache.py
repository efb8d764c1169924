"""Keys and values of the tokens seen so far, so that each new token costs one step.

In: each layer's keys and values of new tokens. Out: those of all tokens since the start.
Legend: B batch, T new tokens, S capacity, K key-value heads, D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from noria.errors import UsageError
from noria.model.config import ModelConfig


class KVCache:
    """Room for `capacity_tokens` tokens of `batch_size` sequences, allocated once.

    All sequences of a batch have the same length; `length` counts the tokens stored so far.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch_size: int,
        capacity_tokens: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (
            config.num_layers,
            batch_size,
            config.num_kv_heads,
            capacity_tokens,
            config.head_width,
        )
        self._keys = torch.zeros(shape, dtype=dtype, device=device)  # (L, B, K, S, D)
        self._values = torch.zeros(shape, dtype=dtype, device=device)
        self.capacity_tokens = capacity_tokens
        self.length = 0

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store one layer's new keys and values; returns all of them so far.

        keys, values: (B, K, T, D) -> (B, K, length + T, D). Raises UsageError if there is no room.
        """
        end = self.length + keys.shape[2]
        if end > self.capacity_tokens:
            raise UsageError(
                f"{end} tokens for a cache of {self.capacity_tokens}",
                f"at most {self.capacity_tokens} tokens",
                "make a larger cache or a shorter prompt",
            )
        self._keys[layer, :, :, self.length : end] = keys
        self._values[layer, :, :, self.length : end] = values
        return self._keys[layer, :, :, :end], self._values[layer, :, :, :end]

    def advance(self, num_tokens: int) -> None:
        """Count new tokens as stored, after every layer has appended them."""
        self.length += num_tokens
