"""Attention over keys and values in blocks: each token reads its own sequence up to itself.

A tile is 8 queries of one key-value head: (token, head of the group) pairs, tokens first. A
query's scores and what it reads are added up in the order of the keys, so they do not depend on the
tile, nor on how a prompt was cut into pieces.
Legend: T tokens, G heads of a group, K key-value heads, D head width, S tokens that are read.
"""

from __future__ import annotations

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
        b, sums = e.builder, e.sums(FLOATS, num_queries)
        begins = [e.at(queries, (one, query_bytes)) for one in queries_of_tile]
        with e.loop(num_blocks) as block:
            e.clear(sums)
            keys = e.at(turned, (b.mul(block.index, head_width), VECTOR_BYTES))
            with e.loop(head_width) as place:
                key = e.load(FLOATS, e.at(keys, (place.index, VECTOR_BYTES)))
                for one in queries_of_tile:
                    query = e.spread(FLOATS, e.at(begins[one], (place.index, 4)))
                    b.store(e.fma(query, key, b.load(sums[one])), sums[one])
            for one in queries_of_tile:
                to = e.at(scores, (one, score_bytes), (block.index, VECTOR_BYTES))
                e.store(b.load(sums[one]), to)

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
        b, sums = e.builder, e.sums(FLOATS, num_queries)
        begins = [e.at(weights, (one, weight_bytes)) for one in queries_of_tile]
        with e.loop(num_chunks) as chunk:
            e.clear(sums)
            values = e.at(stored, (chunk.index, VECTOR_BYTES))
            with e.loop(num_keys) as key:
                slot = e.load(I64, e.at(slots, (key.index, 8)))
                value = e.load(FLOATS, e.at(values, (slot, slot_bytes)))
                for one in queries_of_tile:
                    weight = e.spread(FLOATS, e.at(begins[one], (key.index, 4)))
                    b.store(e.fma(weight, value, b.load(sums[one])), sums[one])
            for one in queries_of_tile:
                to = e.at(found, (one, found_bytes), (chunk.index, VECTOR_BYTES))
                e.store(b.load(sums[one]), to)

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
