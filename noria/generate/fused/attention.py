"""Attention over keys and values in blocks: each token reads its own sequence up to itself.

A tile is 8 queries of one key-value head: (token, head of the group) pairs, tokens first. A
query's scores and what it reads are added up in the order of the keys, so they do not depend on the
tile, nor on how a prompt was cut into pieces.
Legend: T tokens, G heads of a group, K key-value heads, D head width, S tokens that are read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from noria.generate.fused.emit import FLOATS, I64, Emitter, kernel
from noria.generate.fused.kept import compiled
from noria.generate.fused.layout import LANES, MOST_ROWS, VECTOR_BYTES
from noria.generate.fused.rows import softmax_row


def _turn(
    e: Emitter, stored: Any, slots: Any, slot_bytes: Any, num_chunks: Any, turned: Any
) -> None:
    """16 keys of D numbers -> D times the numbers of 16 keys."""
    keys = [
        e.at(stored, (e.load(I64, e.at(slots, (lane, 8))), slot_bytes)) for lane in range(LANES)
    ]
    with e.loop(num_chunks) as chunk:
        vectors = [e.load(FLOATS, e.at(key, (chunk.index, VECTOR_BYTES))) for key in keys]
        distance = 1
        while distance < LANES:  # pairs that stand that far apart change places, in two vectors
            for one in range(LANES):
                other = one + distance
                if one & distance:
                    continue
                low = [
                    lane if not lane & distance else LANES + lane - distance
                    for lane in range(LANES)
                ]
                high = [
                    lane + distance if not lane & distance else LANES + lane
                    for lane in range(LANES)
                ]
                pair = vectors[one], vectors[other]
                vectors[one], vectors[other] = e.lanes(*pair, low), e.lanes(*pair, high)
            distance *= 2
        begin = e.at(turned, (chunk.index, LANES * VECTOR_BYTES))
        for number, vector in enumerate(vectors):
            e.store(vector, e.at(begin, (number, VECTOR_BYTES)))


def _add_up(
    e: Emitter,
    sums: list[Any],
    begins: list[Any],
    count: Any,
    vector_at: Callable[[Any], Any],
    place: Callable[[int], Any],
) -> None:
    """For each row of numbers, from its begin: their products with `count` vectors, added up."""
    e.clear(sums)
    with e.loop(count) as number:
        vector = e.load(FLOATS, vector_at(number.index))
        for begin, kept in zip(begins, sums, strict=True):
            factor = e.spread(FLOATS, e.at(begin, (number.index, 4)))
            e.builder.store(e.fma(factor, vector, e.builder.load(kept)), kept)
    for row, kept in enumerate(sums):
        e.store(e.builder.load(kept), place(row))


def _tiles(num_queries: int) -> tuple[Any, Any]:
    """The scores of so many queries, and what they read."""
    queries_of_tile = range(num_queries)

    def score(
        e: Emitter,
        queries: Any,
        query_bytes: Any,
        turned: Any,
        num_blocks: Any,
        head_width: Any,
        scores: Any,
        score_bytes: Any,
    ) -> None:
        sums = e.sums(FLOATS, num_queries)
        begins = [e.at(queries, (one, query_bytes)) for one in queries_of_tile]
        with e.loop(num_blocks) as block:
            keys = e.at(turned, (e.builder.mul(block.index, head_width), VECTOR_BYTES))
            to = e.at(scores, (block.index, VECTOR_BYTES))
            _add_up(
                e,
                sums,
                begins,
                head_width,
                lambda number: e.at(keys, (number, VECTOR_BYTES)),
                lambda row: e.at(to, (row, score_bytes)),
            )

    def read(
        e: Emitter,
        weights: Any,
        weight_bytes: Any,
        stored: Any,
        slots: Any,
        slot_bytes: Any,
        num_keys: Any,
        num_chunks: Any,
        found: Any,
        found_bytes: Any,
    ) -> None:
        sums = e.sums(FLOATS, num_queries)
        begins = [e.at(weights, (one, weight_bytes)) for one in queries_of_tile]
        with e.loop(num_chunks) as chunk:
            values = e.at(stored, (chunk.index, VECTOR_BYTES))
            to = e.at(found, (chunk.index, VECTOR_BYTES))
            _add_up(
                e,
                sums,
                begins,
                num_keys,
                lambda number: e.at(values, (e.load(I64, e.at(slots, (number, 8))), slot_bytes)),
                lambda row: e.at(to, (row, found_bytes)),
            )

    return kernel(score, 7), kernel(read, 9)


_turn_keys = kernel(_turn, 5)
_score_4, _read_4 = _tiles(4)
_score_8, _read_8 = _tiles(MOST_ROWS)


@compiled()
def read_span(queries, group_size, num_before, keys, values, slots, mixed, scratch, share):  # type: ignore[no-untyped-def]
    """One part of the tiles of one sequence and key-value head.

    queries: (tokens · G, D), turned and scaled, and room for a tile behind them. keys, values:
    (slots, K, D), from the first of this head on. slots: of the sequence's tokens, up to a
    multiple of 16. mixed: (tokens, G, D).
    """
    (turned, scores, found), (part, num_parts) = scratch, share
    head_width = queries.shape[1]
    num_chunks = head_width // LANES
    num_queries = mixed.shape[0] * group_size
    num_turned = 0
    slot_bytes = keys.strides[0]
    first = part * MOST_ROWS
    for begin in range(first, num_queries, num_parts * MOST_ROWS):
        end = min(begin + MOST_ROWS, num_queries)
        num_read = num_before + (end - 1) // group_size + 1
        num_blocks = -(-num_read // LANES)
        while num_turned < num_blocks:
            to_turn = (
                keys.ctypes.data,
                slots[num_turned * LANES :].ctypes.data,
                slot_bytes,
                num_chunks,
                turned[num_turned].ctypes.data,
            )
            _turn_keys(to_turn)
            num_turned += 1
        to_score = (
            queries[begin:].ctypes.data,
            queries.strides[0],
            turned.ctypes.data,
            num_blocks,
            head_width,
            scores.ctypes.data,
            scores.strides[0],
        )
        to_read = (
            scores.ctypes.data,
            scores.strides[0],
            values.ctypes.data,
            slots.ctypes.data,
            slot_bytes,
            num_read,
            num_chunks,
            found.ctypes.data,
            found.strides[0],
        )
        few = end - begin <= 4
        if few:
            _score_4(to_score)
        else:
            _score_8(to_score)
        for row in range(end - begin):
            own = num_before + (begin + row) // group_size + 1
            found[row, head_width] = softmax_row(scores[row, : num_blocks * LANES], own)
        if few:
            _read_4(to_read)
        else:
            _read_8(to_read)
        for row in range(end - begin):
            token, head = (begin + row) // group_size, (begin + row) % group_size
            read, total = mixed[token, head], found[row, head_width]
            for i in range(head_width):
                read[i] = found[row, i] / total
