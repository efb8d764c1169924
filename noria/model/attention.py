"""Attention: what each token reads from those that it may read, its own row's or an encoder's.

In: hidden vectors, and how they are read. Out: hidden vectors.
Legend: B batch, T new tokens, S all tokens that are read, C width, H heads, K key-value heads,
D head width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from noria.model.cache import KVCache, RaggedCache
from noria.model.config import ModelConfig
from noria.model.masks import Reading
from noria.model.norm import RMSNorm
from noria.model.rotary import rotate


class Attention(nn.Module):
    """Scaled dot-product attention (Vaswani et al. 2017) with grouped queries (Ainslie 2023).

    One key-value head for all is multi-query attention (Shazeer 2019), as many as heads the
    original. Normed queries and keys: Henry et al. 2020, as RMSNorm in Qwen3.
    """

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        style, width = config.attention, config.width
        self.layer = layer
        self.num_heads = config.num_heads
        self.num_kv_heads = config.num_kv_heads
        self.head_width = config.head_width
        self.scale = config.head_width**-0.5 if style.scaled else 1.0
        self.dropout = config.dropout.attention
        self.query = nn.Linear(width, config.query_width, bias=style.bias)
        self.key = nn.Linear(width, config.kv_width, bias=style.bias)
        self.value = nn.Linear(width, config.kv_width, bias=style.bias)
        self.output = nn.Linear(config.query_width, width, bias=style.bias)
        self.together: Callable[[Tensor], Sequence[Tensor]] | None = None
        normed = style.query_key_norm
        self.query_norm = RMSNorm(config.head_width, config.norm.epsilon) if normed else None
        self.key_norm = RMSNorm(config.head_width, config.norm.epsilon) if normed else None

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        reading: Reading,
        cache: KVCache | RaggedCache | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Self-attention: the row reads itself, and what the cache holds of it."""
        asked, answering, said = self._projected(x)
        queries = self._placed(asked, self.query_norm, reading)
        keys = self._placed(answering, self.key_norm, reading)
        values = self._split(said).transpose(1, 2)
        if isinstance(cache, KVCache):
            keys, values = cache.append(self.layer, keys, values)  # (B, K, S, D)
        elif cache is not None:
            return self._joined(cache.attend(self.layer, queries, keys, values, self.scale))
        return self._read(queries, keys, values, reading)

    def _projected(self, x: Float[Tensor, "B T C"]) -> Sequence[Tensor]:
        """The products of query, key and value: in one where a reader has put them together."""
        if self.together is not None:
            return self.together(x)
        return self.query(x), self.key(x), self.value(x)

    def cross(
        self,
        x: Float[Tensor, "B T C"],
        memory: Float[Tensor, "B S C"],
        reading: Reading,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Cross-attention: the row reads an encoder's output, whose keys a cache keeps."""
        kept = None if cache is None else cache.memory(self.layer)
        if kept is None:
            kept = self.source(memory, reading)
            if cache is not None:
                cache.remember(self.layer, *kept)
        return self._read(self.queries(x, reading), *kept, reading)

    def cross_ragged(
        self, x: Float[Tensor, "1 T C"], reading: Reading, cache: RaggedCache
    ) -> Float[Tensor, "1 T C"]:
        """As `cross`, of several sequences; the cache has each one's source."""
        queries = self.queries(x, reading)
        return self._joined(cache.attend_source(self.layer, queries, self.scale))

    def source(
        self, memory: Float[Tensor, "B S C"], reading: Reading
    ) -> tuple[Float[Tensor, "B K S D"], Float[Tensor, "B K S D"]]:
        """Keys and values of an encoder's output."""
        values = self._split(self.value(memory)).transpose(1, 2)
        return self.keys(memory, reading), values

    def queries(self, x: Float[Tensor, "B T C"], reading: Reading) -> Float[Tensor, "B H T D"]:
        """What each token asks for."""
        return self._placed(self.query(x), self.query_norm, reading)

    def keys(self, read: Float[Tensor, "B S C"], reading: Reading) -> Float[Tensor, "B K S D"]:
        """What each token that is read answers to."""
        return self._placed(self.key(read), self.key_norm, reading)

    def _placed(
        self, projected: Float[Tensor, "B T heads_D"], norm: RMSNorm | None, reading: Reading
    ) -> Float[Tensor, "B heads T D"]:
        """Heads, normed, turned by their tokens' places."""
        heads = self._split(projected)
        if norm is not None:
            heads = norm(heads)
        if reading.rotation is not None:
            heads = rotate(heads, *reading.rotation)
        return heads.transpose(1, 2)

    def _split(self, x: Float[Tensor, "B T heads_D"]) -> Float[Tensor, "B T heads D"]:
        return x.view(*x.shape[:2], -1, self.head_width)

    def _read(
        self,
        queries: Float[Tensor, "B H T D"],
        keys: Float[Tensor, "B K S D"],
        values: Float[Tensor, "B K S D"],
        reading: Reading,
    ) -> Float[Tensor, "B T C"]:
        keys, values = keys.to(queries.dtype), values.to(queries.dtype)
        group = self.num_heads // self.num_kv_heads
        if group > 1:
            keys = keys.repeat_interleave(group, dim=1)  # (B, H, S, D)
            values = values.repeat_interleave(group, dim=1)
        dropout = self.dropout if self.training else 0.0
        return self._joined(attend(queries, keys, values, reading, self.scale, dropout))

    def _joined(self, mixed: Float[Tensor, "B H T D"]) -> Float[Tensor, "B T C"]:
        batch, _, num_new, _ = mixed.shape
        return self.output(mixed.transpose(1, 2).reshape(batch, num_new, -1))  # type: ignore[no-any-return]


def attention_weights(
    queries: Float[Tensor, "B H T D"],
    keys: Float[Tensor, "B H S D"],
    reading: Reading,
    scale: float,
) -> Float[Tensor, "B H T S"]:
    """softmax(scale · Q Kᵀ + bias) over what may be read: how much each token reads of which."""
    scores = queries @ keys.transpose(-1, -2) * scale
    return (scores + _added(reading, queries)).softmax(dim=-1)


def attend(
    queries: Float[Tensor, "B H T D"],
    keys: Float[Tensor, "B H S D"],
    values: Float[Tensor, "B H S D"],
    reading: Reading,
    scale: float,
    dropout: float = 0.0,
) -> Float[Tensor, "B H T D"]:
    """attention_weights · V by torch's fused kernels, which never store the weights."""
    if queries.dtype == torch.bfloat16 and _is_short(queries, keys) and not dropout:
        return _attend_short(queries, keys, values, _added(reading, queries), scale)
    plain = reading.mask is None and reading.bias is None
    if plain and reading.causal and queries.shape[2] > 1:
        return F.scaled_dot_product_attention(
            queries, keys, values, is_causal=True, dropout_p=dropout, scale=scale
        )
    mask = reading.mask if reading.bias is None else _added(reading, queries)
    return F.scaled_dot_product_attention(
        queries, keys, values, attn_mask=mask, dropout_p=dropout, scale=scale
    )


def _added(reading: Reading, queries: Tensor) -> Tensor:
    """What is added to the scores: the bias, and minus infinity where nothing may be read.

    (B|1, H|1, T, S), or (1, 1, 1, 1) where nothing is added.
    """
    added = queries.new_zeros(1, 1, 1, 1) if reading.bias is None else reading.bias
    added = added.to(queries.dtype)
    if reading.mask is not None:
        return torch.where(reading.mask, added, float("-inf"))
    num_tokens = queries.shape[2]
    if reading.causal and num_tokens > 1:
        later = queries.new_full((num_tokens, num_tokens), float("-inf")).triu(diagonal=1)
        return later + added
    return added


# Up to here the whole (T, S) table of scores is small, and two batched products over it are 2.5
# times as fast, backward included, as torch 2.13's bfloat16 kernel on a CPU (27 against 65 ms at
# B 32, H 5, T 256, D 32, two threads); in float32 torch's kernel is the faster one.
_SHORT_TOKENS = 512


def _is_short(queries: Tensor, keys: Tensor) -> bool:
    num_new, num_all = queries.shape[2], keys.shape[2]
    return queries.device.type == "cpu" and 1 < num_new <= _SHORT_TOKENS >= num_all


def _attend_short(
    queries: Tensor, keys: Tensor, values: Tensor, added: Tensor, scale: float
) -> Tensor:
    """Attention with the scores written out. (B, H, T|S, D) each -> (B, H, T, D)."""
    batch, num_heads, num_new, head_width = queries.shape
    num_all = keys.shape[2]
    heads = batch * num_heads
    scores = torch.baddbmm(
        added.expand(batch, num_heads, num_new, num_all).reshape(heads, num_new, num_all),
        queries.reshape(heads, num_new, head_width),
        keys.reshape(heads, num_all, head_width).transpose(1, 2),
        alpha=scale,
    )  # (B·H, T, S)
    read = values.reshape(heads, num_all, head_width)
    return torch.bmm(scores.softmax(dim=-1), read).view_as(queries)
