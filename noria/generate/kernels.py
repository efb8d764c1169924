"""Attention over a batch of ragged sequences: the one place that a faster kernel would replace.

In: new queries, keys and values of several sequences, one behind the other, and where the blocks
of each sequence lie. Out: what each new token has read. Plain torch.

Sequences with one new token are read together, those of a like length in one group, so that eight
of them cost few more calls than one; a piece of a prompt is read alone.
This module does not know requests. Legend: T new tokens of all sequences, B sequences of a group,
S tokens that are read, H heads, K key-value heads, G heads of a group, D head width, P tokens of a
block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from noria.generate.blocks import PADDING_BLOCK, BlockPool
from noria.model.attention import attend
from noria.model.masks import WHOLE_SOURCE, Reading
from noria.model.relative import RelativeBias


@dataclass(frozen=True)
class Span:
    """The new tokens of one sequence: how many, behind how many, and where its blocks lie.

    num_source, source_blocks: of a source that an encoder has read, where there is one.
    """

    num_new: int
    num_before: int
    blocks: Sequence[int]
    num_source: int = 0
    source_blocks: Sequence[int] = ()

    @property
    def num_all(self) -> int:
        """Tokens that the last new one reads."""
        return self.num_before + self.num_new


@dataclass(frozen=True)
class _Group:
    """Sequences with one new token each. rows: theirs among all. blocks: (B · S / P).

    added: to the scores, (B, 1|K, 1|G, S).
    """

    rows: Int[Tensor, " B"]
    blocks: Int[Tensor, " B_S_over_P"]
    added: Float[Tensor, "B ... S"]


@dataclass(frozen=True)
class _Piece:
    """A piece of a prompt; `blocks` is None where nothing stands before it."""

    rows: slice
    blocks: Int[Tensor, " S_over_P"] | None
    num_all: int
    reading: Reading


class RaggedStep:
    """A step's `RaggedCache`: the new tokens of these spans, in their order.

    relative: the model's, if its scores have a bias by distance. window_tokens: as in the config.
    """

    def __init__(
        self,
        pool: BlockPool,
        spans: Sequence[Span],
        relative: RelativeBias | None = None,
        window_tokens: int = 0,
    ) -> None:
        self._pool = pool
        self._relative = relative
        self._window_tokens = window_tokens
        starts: list[int] = []
        places: list[int] = []
        slots: list[int] = []
        size = pool.block_tokens
        for span in spans:
            starts.append(len(places))
            for place in range(span.num_before, span.num_all):
                places.append(place)
                slots.append(span.blocks[place // size] * size + place % size)
        device = pool.keys.device
        self.places: Int[Tensor, "1 T"] = torch.tensor([places], device=device)
        self._slots = torch.tensor(slots, device=device)
        begun = list(zip(starts, spans, strict=True))
        single = [one for one in begun if one[1].num_new == 1]
        several = [one for one in begun if one[1].num_new > 1]
        self._groups = [
            self._grouped(members)
            for members in _alike(single, lambda one: len(_needed(one, size)))
        ]
        self._pieces = [self._piece(*one) for one in several]
        self._source_groups = [
            self._source_grouped(members)
            for members in _alike(single, lambda one: len(one.source_blocks))
        ]
        self._source_pieces = [self._source_piece(*one) for one in several]

    def attend(
        self,
        layer: int,
        queries: Float[Tensor, "1 H T D"],
        keys: Float[Tensor, "1 K T D"],
        values: Float[Tensor, "1 K T D"],
        scale: float,
    ) -> Float[Tensor, "1 H T D"]:
        """Store the new keys and values; each token reads its own sequence up to itself."""
        pool_keys, pool_values = self._pool.keys[layer], self._pool.values[layer]
        for stored, new in ((pool_keys, keys), (pool_values, values)):
            rows = new[0].transpose(0, 1).to(stored.dtype)  # (T, K, D)
            stored.flatten(0, 1).index_copy_(0, self._slots, rows)
        if len(self._groups) == 1 and not self._pieces:
            return self._read_group(queries, pool_keys, pool_values, self._groups[0], scale)
        mixed = torch.empty_like(queries)
        for group in self._groups:
            read = self._read_group(queries[:, :, group.rows], pool_keys, pool_values, group, scale)
            mixed[:, :, group.rows] = read
        for piece in self._pieces:
            if piece.blocks is None:
                own = keys[:, :, piece.rows], values[:, :, piece.rows]
            else:
                own = self._gathered(layer, piece.blocks, piece.num_all, queries.dtype)
            mixed[:, :, piece.rows] = _read_piece(queries, *own, piece, scale)
        return mixed

    def attend_source(
        self, layer: int, queries: Float[Tensor, "1 H T D"], scale: float
    ) -> Float[Tensor, "1 H T D"]:
        """Each token reads the whole source of its own sequence, which `store_source` has kept."""
        pool_keys, pool_values = self._pool.keys[layer], self._pool.values[layer]
        groups = self._source_groups
        if len(groups) == 1 and not self._source_pieces:
            return self._read_group(queries, pool_keys, pool_values, groups[0], scale)
        mixed = torch.empty_like(queries)
        for group in groups:
            read = self._read_group(queries[:, :, group.rows], pool_keys, pool_values, group, scale)
            mixed[:, :, group.rows] = read
        for piece in self._source_pieces:
            assert piece.blocks is not None
            own = self._gathered(layer, piece.blocks, piece.num_all, queries.dtype)
            mixed[:, :, piece.rows] = _read_piece(queries, *own, piece, scale)
        return mixed

    def _gathered(
        self, layer: int, blocks: Int[Tensor, " S_over_P"], num_all: int, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "1 K S D"], Float[Tensor, "1 K S D"]]:
        """The first keys and values that lie in these blocks."""
        keys, values = (
            stored[layer].index_select(0, blocks).flatten(0, 1)[None, :num_all].transpose(1, 2)
            for stored in (self._pool.keys, self._pool.values)
        )
        return keys.to(dtype), values.to(dtype)

    def _read_group(
        self,
        queries: Float[Tensor, "1 H B D"],
        pool_keys: Float[Tensor, "N P K D"],
        pool_values: Float[Tensor, "N P K D"],
        group: _Group,
        scale: float,
    ) -> Float[Tensor, "1 H B D"]:
        """Heads that share keys stand where torch's kernel expects tokens: keys are read once."""
        _, num_heads, size, head_width = queries.shape
        num_kv_heads = pool_keys.shape[2]
        asking = queries[0].transpose(0, 1).reshape(size, num_kv_heads, -1, head_width)
        keys, values = (
            stored.index_select(0, group.blocks)
            .view(size, -1, num_kv_heads, head_width)
            .transpose(1, 2)
            .to(queries.dtype)
            for stored in (pool_keys, pool_values)
        )  # (B, K, S, D)
        read = F.scaled_dot_product_attention(
            asking, keys, values, attn_mask=group.added.to(queries.dtype), scale=scale
        )  # (B, K, G, D)
        return read.reshape(size, num_heads, head_width).transpose(0, 1)[None]

    def _grouped(self, members: Sequence[tuple[int, Span]]) -> _Group:
        size, device = self._pool.block_tokens, self._pool.keys.device
        blocks = _padded([_needed(span, size) for _, span in members], device)
        queries = torch.tensor([[span.num_before] for _, span in members], device=device)
        keys = torch.arange(len(blocks) // len(members) * size, device=device)[None]
        seen = self._seen(queries, keys)[:, 0]  # (B, S)
        added = torch.zeros(seen.shape, device=device).masked_fill(~seen, float("-inf"))
        added = added[:, None, None]  # (B, 1, 1, S)
        if self._relative is not None:
            bias = self._relative(queries, keys.expand(len(members), -1))[:, :, 0]  # (B, H, S)
            num_kv_heads = self._pool.keys.shape[3]
            added = added + bias.view(len(members), num_kv_heads, -1, keys.shape[1])
        rows = torch.tensor([start for start, _ in members], device=device)
        return _Group(rows, blocks, added)

    def _source_grouped(self, members: Sequence[tuple[int, Span]]) -> _Group:
        device = self._pool.keys.device
        blocks = _padded([span.source_blocks for _, span in members], device)
        places = torch.arange(len(blocks) // len(members) * self._pool.block_tokens, device=device)
        lengths = torch.tensor([[span.num_source] for _, span in members], device=device)
        added = torch.zeros(lengths.shape[0], len(places), device=device)
        added = added.masked_fill(places >= lengths, float("-inf"))[:, None, None]  # (B, 1, 1, S)
        return _Group(torch.tensor([start for start, _ in members], device=device), blocks, added)

    def _source_piece(self, start: int, span: Span) -> _Piece:
        blocks = torch.tensor(list(span.source_blocks), device=self._pool.keys.device)
        return _Piece(slice(start, start + span.num_new), blocks, span.num_source, WHOLE_SOURCE)

    def _piece(self, start: int, span: Span) -> _Piece:
        device = self._pool.keys.device
        queries = torch.arange(span.num_before, span.num_all, device=device)[None]
        keys = torch.arange(span.num_all, device=device)[None]
        bias = None if self._relative is None else self._relative(queries, keys)
        near = 0 < self._window_tokens < span.num_all
        mask = self._seen(queries, keys)[:, None] if near or span.num_before else None
        blocks = None
        if span.num_before:
            blocks = torch.tensor(_needed(span, self._pool.block_tokens), device=device)
        rows = slice(start, start + span.num_new)
        return _Piece(rows, blocks, span.num_all, Reading(None, mask, bias, True))

    def _seen(self, queries: Int[Tensor, "#B T"], keys: Int[Tensor, "1 S"]) -> Tensor:
        """Which places each place may read. (B, T), (1, S) -> (B, T, S) of bool."""
        distances = queries[:, :, None] - keys[:, None, :]
        seen = distances >= 0
        return seen & (distances < self._window_tokens) if self._window_tokens else seen


def _needed(span: Span, block_tokens: int) -> Sequence[int]:
    """The blocks that hold a span's tokens."""
    return span.blocks[: -(-span.num_all // block_tokens)]


def _padded(tables: Sequence[Sequence[int]], device: torch.device) -> Int[Tensor, " B_S_over_P"]:
    """The blocks of sequences, one behind the other, each as many as the longest has."""
    most = max(len(table) for table in tables)
    padded = [[*table, *[PADDING_BLOCK] * (most - len(table))] for table in tables]
    return torch.tensor(list(chain.from_iterable(padded)), device=device)


def _read_piece(
    queries: Float[Tensor, "1 H T D"],
    keys: Float[Tensor, "1 K S D"],
    values: Float[Tensor, "1 K S D"],
    piece: _Piece,
    scale: float,
) -> Float[Tensor, "1 H T2 D"]:
    asking = queries[:, :, piece.rows]
    if _hides_only_later(asking, piece.reading):
        return _read_by_bands(asking, keys, values, scale)
    group_size = asking.shape[1] // keys.shape[1]
    if group_size > 1:
        keys = keys.repeat_interleave(group_size, dim=1)
        values = values.repeat_interleave(group_size, dim=1)
    return attend(asking, keys, values, piece.reading, scale)


def _hides_only_later(queries: Tensor, reading: Reading) -> bool:
    """Whether a piece begins its sequence and each token reads all before it, in float32 on a CPU.

    In bfloat16 a table of scores that is written out would round them.
    """
    plain = reading.causal and reading.mask is None and reading.bias is None
    return plain and queries.device.type == "cpu" and queries.dtype == torch.float32


BAND_TOKENS = 64  # 4.8 ms at H 9, K 3, T 512, D 64 on one thread; 32: 6.0, 128: 8.7; torch's 7.5


def _read_by_bands(
    queries: Float[Tensor, "1 H T D"],
    keys: Float[Tensor, "1 K T D"],
    values: Float[Tensor, "1 K T D"],
    scale: float,
) -> Float[Tensor, "1 H T D"]:
    """Causal attention in bands of queries, each over the keys up to its end.

    That is half of the table of scores, all of which torch's fused kernel for a CPU computes. Heads
    that share keys stand one behind the other in a band.
    """
    _, num_heads, num_tokens, head_width = queries.shape
    num_kv_heads = keys.shape[1]
    asking = (queries[0] * scale).view(num_kv_heads, -1, num_tokens, head_width)  # (K, G, T, D)
    read_keys, read_values = keys[0].contiguous().transpose(1, 2), values[0].contiguous()
    later = queries.new_full((BAND_TOKENS, BAND_TOKENS), float("-inf")).triu(diagonal=1)
    mixed = torch.empty_like(asking)
    for start in range(0, num_tokens, BAND_TOKENS):
        end = min(start + BAND_TOKENS, num_tokens)
        size = end - start
        band = asking[:, :, start:end].reshape(num_kv_heads, -1, head_width)
        scores = torch.bmm(band, read_keys[:, :, :end])  # (K, G · band, end)
        scores.view(num_kv_heads, -1, size, end)[..., start:].add_(later[:size, :size])
        found = torch.bmm(scores.softmax(dim=-1), read_values[:, :end])
        mixed[:, :, start:end] = found.view(num_kv_heads, -1, size, head_width)
    return mixed.view(1, num_heads, num_tokens, head_width)


def store_source(
    pool: BlockPool,
    blocks: Sequence[int],
    layer: int,
    keys: Float[Tensor, "K S D"],
    values: Float[Tensor, "K S D"],
) -> None:
    """Keep a layer's keys and values of a sequence's source in its blocks."""
    size = pool.block_tokens
    places = range(keys.shape[1])
    slots = torch.tensor([blocks[place // size] * size + place % size for place in places])
    for stored, new in ((pool.keys[layer], keys), (pool.values[layer], values)):
        rows = new.transpose(0, 1).to(stored.dtype)  # (S, K, D)
        stored.flatten(0, 1).index_copy_(0, slots.to(stored.device), rows)


def _alike(
    members: Sequence[tuple[int, Span]], num_blocks: Callable[[Span], int]
) -> list[list[tuple[int, Span]]]:
    """Members in groups of at most twice the shortest's blocks; those without any in none."""
    groups: list[list[tuple[int, Span]]] = []
    shortest = 0
    for member in sorted(members, key=lambda one: num_blocks(one[1])):
        found = num_blocks(member[1])
        if not found:
            continue
        if not groups or found > 2 * shortest:
            groups.append([])
            shortest = found
        groups[-1].append(member)
    return [sorted(group, key=lambda one: one[0]) for group in groups]
