"""The whole pass as one compiled function: token ids in, keys and values stored, logits out.

Several threads may run it, each its part of every stage; they meet after each stage. Which thread
computes what changes no number. Compiled with the first call and kept on disk.
Legend: T new tokens of all sequences, B sequences that are read whole, C width, H heads, K
key-value heads, G heads of a group, D head width, F feed-forward width, S longest sequence, V
vocabulary.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from noria.generate.fused.attention import read_span
from noria.generate.fused.emit import I64, Emitter, kernel
from noria.generate.fused.kept import compiled, kept_on_disk
from noria.generate.fused.layout import Matrices
from noria.generate.fused.products import multiply
from noria.generate.fused.rows import gate_row, norm_row, rotate, round_row

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
PIECE_TOKENS = 64  # of a feed-forward layer: what it computes then stays in the cache
_SPINS = 2000  # some ten microseconds, about as long as a stage; then others may have the processor


class Weights(NamedTuple):
    """A decoder's; norms (layers, C) and, of queries and keys, (layers or 0, D)."""

    embedding: NDArray[np.int8]  # (V, C)
    embedding_scales: Floats  # (V)
    attention_norms: Floats
    query_norms: Floats
    key_norms: Floats
    projections: Matrices  # queries, keys and values
    outputs: Matrices
    feedforward_norms: Floats
    gates: Matrices  # gates, then ups
    downs: Matrices
    final_norm: Floats  # (C)
    head: Matrices
    cos: Floats  # (S, D/2)
    sin: Floats
    epsilon: np.float32
    score_scale: np.float32
    group_size: int  # G


class Plan(NamedTuple):
    """A step's tokens: what they are, at which places, and where in the cache they go.

    spans: of each sequence its new tokens, those before, and where its `read_slots` begin: those
    of all its tokens, filled up to a multiple of 16.
    """

    ids: Integers  # (T)
    places: Integers  # (T)
    slots: Integers  # (T)
    spans: Integers  # (sequences, 3)
    read_slots: Integers
    last_rows: Integers  # (B)


class Room(NamedTuple):
    """Where a step computes; a tile of rows behind T. Of each thread: normed to read."""

    hidden: Floats  # (T, C)
    integers: NDArray[np.uint8]  # (T, C)
    lows: Floats  # (T, 1)
    steps: Floats
    projected: Floats  # (T, (H + 2K) · D, filled up)
    queries: Floats  # (K, T · G, D)
    mixed: Floats  # (T, H, D)
    mixed_integers: NDArray[np.uint8]  # (T, H · D)
    gated: Floats  # (a piece, 2F, filled up)
    inner_integers: NDArray[np.uint8]  # (a piece, F)
    inner_lows: Floats  # (a piece, groups)
    inner_steps: Floats
    normed: Floats  # (threads, C or F)
    turned: Floats  # (threads, S / 16, D, 16)
    scores: Floats  # (threads, 8, S)
    found: Floats  # (threads, 8, D + 1, filled up)


def _meet(e: Emitter, counter: Any, target: Any) -> None:
    """Wait until so many have come."""
    b = e.builder
    place = b.inttoptr(counter, I64.as_pointer())
    one, limit = ir.Constant(I64, 1), ir.Constant(I64, _SPINS)
    b.atomic_rmw("add", place, one, "seq_cst")
    before = b.block
    check, spin, sleep, again, done = (
        b.append_basic_block(name) for name in ("check", "spin", "sleep", "again", "done")
    )
    b.branch(check)
    b.position_at_end(check)
    spins = b.phi(I64)
    spins.add_incoming(ir.Constant(I64, 0), before)
    arrived = b.load_atomic(place, "seq_cst", 8)
    b.cbranch(b.icmp_signed(">=", arrived, target), done, spin)
    b.position_at_end(spin)
    e.call("llvm.x86.sse2.pause", ir.VoidType())
    b.cbranch(b.icmp_signed("<", spins, limit), again, sleep)
    b.position_at_end(sleep)
    e.call("sched_yield", ir.IntType(32))
    b.branch(again)
    b.position_at_end(again)
    spins.add_incoming(b.add(spins, one), again)
    b.branch(check)
    b.position_at_end(done)


_meet_others = kernel(_meet, 2)


@compiled()
def _meet_all(counter, num_met, num_parts):  # type: ignore[no-untyped-def]
    """Every thread's stage is done; returns how often they have met."""
    if num_parts > 1:
        _meet_others((counter.ctypes.data, (num_met + 1) * num_parts))
    return num_met + 1


@compiled()
def _norm_and_round(hidden, weight, epsilon, room, row, part):  # type: ignore[no-untyped-def]
    """A hidden vector as a row of inputs of the next product."""
    normed = room.normed[part, : len(hidden)]
    norm_row(hidden, weight, epsilon, normed)
    round_row(normed, room.integers[row], room.lows[row], room.steps[row])


@compiled()
def _place(weights, layer, room, plan, keys, values, first, last):  # type: ignore[no-untyped-def]
    """Queries, turned and scaled; keys, turned, and values into the cache."""
    num_kv_heads, head_width = keys.shape[1], keys.shape[2]
    group_size = weights.group_size
    num_heads = num_kv_heads * group_size
    queries, cos, sin, one = room.queries, weights.cos, weights.sin, np.float32(1)
    for token in range(first, last):
        heads = room.projected[token, : (num_heads + 2 * num_kv_heads) * head_width]
        heads = heads.reshape(num_heads + 2 * num_kv_heads, head_width)
        if len(weights.query_norms):
            for head in range(num_heads):
                norm_row(heads[head], weights.query_norms[layer], weights.epsilon, heads[head])
            for head in range(num_heads, num_heads + num_kv_heads):
                norm_row(heads[head], weights.key_norms[layer], weights.epsilon, heads[head])
        place, slot, row = plan.places[token], plan.slots[token], token * group_size
        for kv_head in range(num_kv_heads):
            turned = queries[kv_head, row : row + group_size]
            own = heads[kv_head * group_size : (kv_head + 1) * group_size]
            rotate(own, cos[place], sin[place], weights.score_scale, turned)
        rotate(heads[num_heads : num_heads + num_kv_heads], cos[place], sin[place], one, keys[slot])
        said = heads[num_heads + num_kv_heads :]
        for head in range(num_kv_heads):
            for i in range(head_width):
                values[slot, head, i] = said[head, i]


@compiled()
def _attend(weights, room, plan, keys, values, part, num_parts):  # type: ignore[no-untyped-def]
    scratch = room.turned[part], room.scores[part], room.found[part]
    group_size, num_kv_heads = weights.group_size, keys.shape[1]
    start = 0
    for span in range(len(plan.spans)):
        num_new, num_before, first_slot = plan.spans[span]
        slots = plan.read_slots[first_slot:]
        for head in range(num_kv_heads):
            turn = (part + span * num_kv_heads + head) % num_parts  # who begins
            read_span(
                room.queries[head, start * group_size :],
                group_size,
                num_before,
                keys[:, head],
                values[:, head],
                slots,
                room.mixed[start : start + num_new, head * group_size : (head + 1) * group_size],
                scratch,
                (turn, num_parts),
            )
        start += num_new


@compiled()
def _feed_forward(weights, layer, room, begin, end, counter, num_met, part, num_parts):  # type: ignore[no-untyped-def]
    """Of the tokens from `begin` to `end`; how often the threads have met then."""
    num_rows, inner_width = end - begin, room.inner_integers.shape[1]
    first, last = num_rows * part // num_parts, num_rows * (part + 1) // num_parts
    hidden, norm = room.hidden[begin:], weights.feedforward_norms[layer]
    for row in range(first, last):
        _norm_and_round(hidden[row], norm, weights.epsilon, room, row, part)
    num_met = _meet_all(counter, num_met, num_parts)
    rounded = room.integers, room.lows, room.steps
    multiply(*rounded, weights.gates, layer, room.gated, False, num_rows, part, num_parts)
    num_met = _meet_all(counter, num_met, num_parts)
    inner = room.normed[part, :inner_width]
    for row in range(first, last):
        gate_row(room.gated[row], inner)
        round_row(inner, room.inner_integers[row], room.inner_lows[row], room.inner_steps[row])
    num_met = _meet_all(counter, num_met, num_parts)
    rounded = room.inner_integers, room.inner_lows, room.inner_steps
    multiply(*rounded, weights.downs, layer, hidden, True, num_rows, part, num_parts)
    return _meet_all(counter, num_met, num_parts)


@kept_on_disk
def step(weights, plan, room, keys, values, logits, counter, part, num_parts):  # type: ignore[no-untyped-def]
    """Read the plan's tokens; the logits behind its last rows.

    keys, values: (layers, slots, K, D). logits: (B, V, filled up), and room for a tile. counter:
    a zero.
    """
    num_tokens, num_met = len(plan.ids), 0
    first, last = num_tokens * part // num_parts, num_tokens * (part + 1) // num_parts
    hidden = room.hidden
    share = (num_tokens, part, num_parts)
    for token in range(first, last):
        row, scale = weights.embedding[plan.ids[token]], weights.embedding_scales[plan.ids[token]]
        for i in range(len(row)):
            hidden[token, i] = np.float32(row[i]) * scale
    for layer in range(len(weights.attention_norms)):
        norm = weights.attention_norms[layer]
        for row in range(first, last):
            _norm_and_round(hidden[row], norm, weights.epsilon, room, row, part)
        num_met = _meet_all(counter, num_met, num_parts)
        rounded = room.integers, room.lows, room.steps
        multiply(*rounded, weights.projections, layer, room.projected, False, *share)
        num_met = _meet_all(counter, num_met, num_parts)
        cache = keys[layer], values[layer]
        _place(weights, layer, room, plan, *cache, first, last)
        num_met = _meet_all(counter, num_met, num_parts)
        _attend(weights, room, plan, *cache, part, num_parts)
        num_met = _meet_all(counter, num_met, num_parts)
        for row in range(first, last):
            mixed = room.mixed[row].reshape(-1)
            round_row(mixed, room.mixed_integers[row], room.lows[row], room.steps[row])
        num_met = _meet_all(counter, num_met, num_parts)
        rounded = room.mixed_integers, room.lows, room.steps
        multiply(*rounded, weights.outputs, layer, hidden, True, *share)
        num_met = _meet_all(counter, num_met, num_parts)
        for begin in range(0, num_tokens, PIECE_TOKENS):
            end = min(begin + PIECE_TOKENS, num_tokens)
            num_met = _feed_forward(
                weights, layer, room, begin, end, counter, num_met, part, num_parts
            )
    num_read = len(plan.last_rows)
    first, last = num_read * part // num_parts, num_read * (part + 1) // num_parts
    for row in range(first, last):
        last_hidden = hidden[plan.last_rows[row]]
        _norm_and_round(last_hidden, weights.final_norm, weights.epsilon, room, row, part)
    num_met = _meet_all(counter, num_met, num_parts)
    rounded = room.integers, room.lows, room.steps
    multiply(*rounded, weights.head, 0, logits, False, num_read, part, num_parts)
