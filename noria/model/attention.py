"""Causal attention with grouped queries.

In: hidden vectors, rotary tables, maybe a cache. Out: what each token read from those before it.
Legend: B batch, T new tokens, S all tokens so far, C width, H heads, K key-value heads,
D head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noria.model.cache import KVCache
from noria.model.config import ModelConfig
from noria.model.positions import rotate


class Attention(nn.Module):
    """Scaled dot-product attention (Vaswani et al. 2017) with grouped queries (Ainslie 2023)."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.num_heads = config.num_heads
        self.num_kv_heads = config.num_kv_heads
        self.head_width = config.head_width
        self.query = nn.Linear(config.width, config.width, bias=False)
        self.key = nn.Linear(config.width, config.kv_width, bias=False)
        self.value = nn.Linear(config.width, config.kv_width, bias=False)
        self.output = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, cache: KVCache | None) -> Tensor:
        """x: (B, T, C); cos, sin: (T, 1, D/2) of the new tokens' positions -> (B, T, C)."""
        batch, num_new, _ = x.shape
        shape = (batch, num_new, -1, self.head_width)
        queries = rotate(self.query(x).view(shape), cos, sin).transpose(1, 2)  # (B, H, T, D)
        keys = rotate(self.key(x).view(shape), cos, sin).transpose(1, 2)  # (B, K, T, D)
        values = self.value(x).view(shape).transpose(1, 2)
        if cache is not None:
            keys, values = cache.append(self.layer, keys, values)  # (B, K, S, D)
            keys, values = keys.to(queries.dtype), values.to(queries.dtype)
        group = self.num_heads // self.num_kv_heads
        if group > 1:
            keys = keys.repeat_interleave(group, dim=1)  # (B, H, S, D)
            values = values.repeat_interleave(group, dim=1)
        mixed = _attend(queries, keys, values)  # (B, H, T, D)
        mixed = mixed.transpose(1, 2).reshape(batch, num_new, -1)  # (B, T, C)
        return self.output(mixed)  # type: ignore[no-any-return]


# Up to here the whole (T, S) table of scores is small, and two batched products over it are 2.5
# times as fast, backward included, as torch 2.13's bfloat16 kernel on a CPU (27 against 65 ms at
# B 32, H 5, T 256, D 32, two threads); in float32 torch's kernel is the faster one.
_SHORT_TOKENS = 512


def _is_short(queries: Tensor) -> bool:
    return queries.device.type == "cpu" and 1 < queries.shape[2] <= _SHORT_TOKENS


def _attend_short(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Causal attention with the scores written out. (B, H, T, D) each -> (B, H, T, D)."""
    batch, num_heads, num_tokens, head_width = queries.shape
    shape = (batch * num_heads, num_tokens, head_width)
    later = queries.new_full((num_tokens, num_tokens), float("-inf")).triu(diagonal=1)
    scores = torch.baddbmm(
        later.expand(batch * num_heads, -1, -1),
        queries.reshape(shape),
        keys.reshape(shape).transpose(1, 2),
        alpha=head_width**-0.5,
    )  # (B·H, T, T)
    return torch.bmm(scores.softmax(dim=-1), values.reshape(shape)).view_as(queries)


def _attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Each of the last T tokens reads itself and all before it."""
    num_new, num_all = queries.shape[2], keys.shape[2]
    if num_new == num_all:
        if queries.dtype == torch.bfloat16 and _is_short(queries):
            return _attend_short(queries, keys, values)
        return F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
    if num_new == 1:
        return F.scaled_dot_product_attention(queries, keys, values)
    seen = torch.ones(num_new, num_all, dtype=torch.bool, device=queries.device)
    seen = seen.tril(diagonal=num_all - num_new)  # (T, S)
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=seen)
