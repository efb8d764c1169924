"""A decoder's weights laid out for the compiled pass, and its steps.

In: a Llama-shaped decoder of "int8-dynamic". Out: logits, and keys and values in the pool, as the
decoder itself would compute them in torch, up to rounding.
This module does not know requests or where adapters come from.
Legend: B sequences that are read whole, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from noria.errors import UsageError
from noria.generate.blocks import PADDING_BLOCK, BlockPool
from noria.generate.fused.layout import LANES, MOST_ROWS, PANEL_OUTPUTS, Matrices, laid_out
from noria.generate.fused.step import PIECE_TOKENS, Plan, Room, Weights, step
from noria.generate.kernels import Span
from noria.model.config import ModelConfig
from noria.model.quantized import Int8Embedding, Int8Linear, num_product_groups
from noria.model.transformer import Decoder


@final
class FusedDecoder:
    """For one thread that asks; it computes with as many as torch does."""

    def __init__(self, base: Decoder) -> None:
        self._config = base.config
        self._weights = _weights(base)
        self._num_threads = torch.get_num_threads()
        self._others = ThreadPoolExecutor(max(1, self._num_threads - 1), "noria-fused")
        self._room: Room | None = None
        self._has_room_for = 0, 0  # new tokens, and tokens of a sequence

    def read(
        self, ids: Sequence[int], spans: Sequence[Span], last_rows: Sequence[int], pool: BlockPool
    ) -> Float[Tensor, "B V"]:
        """Read the spans' new tokens; the logits behind those that stand in `last_rows`."""
        plan = self._planned(ids, spans, last_rows, pool.block_tokens)
        room = self._room_for(len(ids), max(span.num_all for span in spans))
        keys, values = (one.flatten(1, 2).numpy() for one in (pool.keys, pool.values))
        num_outputs = self._weights.head.scales.shape[1] * PANEL_OUTPUTS
        logits = np.empty((len(last_rows) + MOST_ROWS, num_outputs), np.float32)
        given = self._weights, plan, room, keys, values, logits, np.zeros(1, np.int64)
        read_part = partial(step, *given)
        num = self._num_threads
        others = [self._others.submit(read_part, part, num) for part in range(1, num)]
        read_part(0, num)
        for other in others:
            other.result()
        return torch.from_numpy(logits[: len(last_rows), : self._config.vocab_size])

    def _planned(
        self, ids: Sequence[int], spans: Sequence[Span], last_rows: Sequence[int], block_tokens: int
    ) -> Plan:
        """Raises UsageError for what compiled code would not notice."""
        config = self._config
        longest = max(span.num_all for span in spans)
        if not 0 <= min(ids) <= max(ids) < config.vocab_size or longest > config.context_tokens:
            raise UsageError(
                f"token ids from {min(ids)} to {max(ids)}, a sequence of {longest} tokens",
                f"ids below {config.vocab_size} and at most {config.context_tokens} tokens",
            )
        tables = [_slots(span, block_tokens) for span in spans]
        starts = np.cumsum([0, *(len(table) for table in tables)])
        new = [
            (span.num_new, span.num_before, start)
            for span, start in zip(spans, starts[:-1], strict=True)
        ]
        places = [np.arange(span.num_before, span.num_all) for span in spans]
        slots = [table[at] for table, at in zip(tables, places, strict=True)]
        return Plan(
            np.array(ids, np.int64),
            np.concatenate(places),
            np.concatenate(slots),
            np.array(new, np.int64),
            np.concatenate(tables),
            np.array(last_rows, np.int64),
        )

    def _room_for(self, num_tokens: int, num_read: int) -> Room:
        """What there is, or where that is too small a larger one."""
        most_tokens, most_read = self._has_room_for
        if self._room is None or num_tokens > most_tokens or num_read > most_read:
            most_tokens = max(num_tokens, most_tokens)
            most_read = min(2 * max(num_read, most_read), self._config.context_tokens)
            self._room = _room(self._config, most_tokens, most_read, self._num_threads)
            self._has_room_for = most_tokens, most_read
        return self._room


def _slots(span: Span, block_tokens: int) -> NDArray[np.int64]:
    """Where a sequence's tokens lie; behind the last, up to a multiple of 16, there are zeros."""
    blocks = np.array(span.blocks[: -(-span.num_all // block_tokens)], np.int64)
    slots = (blocks[:, None] * block_tokens + np.arange(block_tokens)).reshape(-1)[: span.num_all]
    filled = np.full(-(-span.num_all // LANES) * LANES, PADDING_BLOCK * block_tokens)
    filled[: span.num_all] = slots
    return filled


def _filled(num_outputs: int) -> int:
    """Whole panels, and a little more: rows a power of two apart would share a cache's places."""
    return -(-num_outputs // PANEL_OUTPUTS) * PANEL_OUTPUTS + LANES


def _room(config: ModelConfig, num_tokens: int, num_read: int, num_threads: int) -> Room:
    rows, num_groups = num_tokens + MOST_ROWS, num_product_groups(config.ffn_width)
    width, inner, head_width = config.width, config.ffn_width, config.head_width
    group_size = config.num_heads // config.num_kv_heads
    num_blocks, piece = -(-num_read // LANES), min(rows, PIECE_TOKENS + MOST_ROWS)

    def floats(*shape: int) -> NDArray[np.float32]:
        return np.empty(shape, np.float32)

    def integers(*shape: int) -> NDArray[np.uint8]:
        return np.empty(shape, np.uint8)

    return Room(
        floats(rows, width),
        integers(rows, width),
        floats(rows, 1),
        floats(rows, 1),
        floats(rows, _filled(config.query_width + 2 * config.kv_width)),
        floats(config.num_kv_heads, num_tokens * group_size + MOST_ROWS, head_width),
        floats(rows, config.num_heads, head_width),
        integers(rows, config.query_width),
        floats(piece, _filled(2 * inner)),
        integers(piece, inner),
        floats(piece, num_groups),
        floats(piece, num_groups),
        floats(num_threads, max(width, inner, head_width)),
        floats(num_threads, num_blocks, head_width, LANES),
        floats(num_threads, MOST_ROWS, num_blocks * LANES),
        floats(num_threads, MOST_ROWS, head_width + LANES),
    )


def _weights(base: Decoder) -> Weights:
    config = base.config
    blocks: list[Any] = list(base.blocks)
    cos: Tensor = base.rotary_cos
    sin: Tensor = base.rotary_sin
    final_norm: Any = base.final_norm
    attentions = [block.attention for block in blocks]
    inner = [block.feedforward for block in blocks]
    normed = attentions[0].query_norm is not None
    embedding: Any = base.embedding
    head: Any = embedding if base.head is None else base.head
    return Weights(
        embedding.weight.numpy(),
        embedding.scale.numpy(),
        _norms([block.attention_norm for block in blocks], config.width),
        _norms([one.query_norm for one in attentions if normed], config.head_width),
        _norms([one.key_norm for one in attentions if normed], config.head_width),
        _matrices([(one.query, one.key, one.value) for one in attentions]),
        _matrices([(one.output,) for one in attentions]),
        _norms([block.feedforward_norm for block in blocks], config.width),
        _matrices([(one.gate, one.up) for one in inner]),
        _matrices([(one.down,) for one in inner]),
        final_norm.weight.detach().numpy(),
        _matrices([(head,)]),
        cos[:, 0].contiguous().numpy(),
        sin[:, 0].contiguous().numpy(),
        np.float32(config.norm.epsilon),
        np.float32(attentions[0].scale),
        config.num_heads // config.num_kv_heads,
    )


def _norms(norms: list[Any], width: int) -> NDArray[np.float32]:
    rows = [one.weight.detach().numpy() for one in norms]
    return np.stack(rows) if rows else np.empty((0, width), np.float32)


def _matrices(layers: Sequence[Sequence[Int8Linear | Int8Embedding]]) -> Matrices:
    """Of each layer one matrix, whose outputs are those of several, one behind the other."""
    joined = [
        (
            np.concatenate([one.weight.numpy() for one in together]),
            np.concatenate([one.scale.numpy() for one in together]),
        )
        for together in layers
    ]
    return laid_out(joined, layers[0][0].product.num_groups)
