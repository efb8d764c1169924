"""Keys and values of the tokens seen so far, so that each new token costs one step.

In: each layer's keys and values of new tokens. Out: those of all tokens since the start. Those of
an encoder's output, which cross-attention reads at every step, are computed once and kept.
Legend: B batch, T new tokens, S all tokens so far (or of a source), L layers, H heads, K key-value
heads, D head width.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
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
        heads = (config.num_kv_heads, capacity_tokens, config.head_width)
        shape = (config.num_layers, batch_size, *heads)
        self._keys = torch.zeros(shape, dtype=dtype, device=device)  # (L, B, K, S, D)
        self._values = torch.zeros(shape, dtype=dtype, device=device)
        self._memory: dict[int, tuple[Tensor, Tensor]] = {}
        self.capacity_tokens = capacity_tokens
        self.length = 0

    def append(
        self, layer: int, keys: Float[Tensor, "B K T D"], values: Float[Tensor, "B K T D"]
    ) -> tuple[Float[Tensor, "B K S D"], Float[Tensor, "B K S D"]]:
        """Store one layer's new keys and values; returns all of them so far.

        Raises UsageError if there is no room.
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

    def remember(
        self, layer: int, keys: Float[Tensor, "B K S D"], values: Float[Tensor, "B K S D"]
    ) -> None:
        """Keep one layer's keys and values of an encoder's output."""
        self._memory[layer] = keys, values

    def memory(
        self, layer: int
    ) -> tuple[Float[Tensor, "B K S D"], Float[Tensor, "B K S D"]] | None:
        """What `remember` kept of that layer."""
        return self._memory.get(layer)

    def select(self, rows: Int[Tensor, " B2"]) -> None:
        """Go on with these sequences of the batch, in this order; one may be there twice."""
        self._keys, self._values = (one.index_select(1, rows) for one in (self._keys, self._values))
        self._memory = {
            layer: (keys.index_select(0, rows), values.index_select(0, rows))
            for layer, (keys, values) in self._memory.items()
        }

    def advance(self, num_tokens: int) -> None:
        """Count new tokens as stored, after every layer has appended them."""
        self.length += num_tokens


@runtime_checkable
class RaggedCache(Protocol):
    """New tokens of several sequences in one row, each sequence with a cache of its own length."""

    places: Int[Tensor, "1 T"]

    def attend(
        self,
        layer: int,
        queries: Float[Tensor, "1 H T D"],
        keys: Float[Tensor, "1 K T D"],
        values: Float[Tensor, "1 K T D"],
        scale: float,
    ) -> Float[Tensor, "1 H T D"]:
        """Store the new keys and values; each token reads its own sequence up to itself."""
        ...

    def attend_source(
        self, layer: int, queries: Float[Tensor, "1 H T D"], scale: float
    ) -> Float[Tensor, "1 H T D"]:
        """Each token reads its own sequence's source, whose keys and values are stored."""
        ...
