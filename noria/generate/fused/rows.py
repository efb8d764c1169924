"""What is computed row by row between products: norms, rotations, activations, rounding.

Legend: T rows, C width, D head width, G groups with one scale, I inputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from noria.generate.fused.emit import FLOATS, I32, Emitter, kernel
from noria.generate.fused.kept import compiled
from noria.generate.fused.layout import LANES, VECTOR_BYTES

_REORDERED = {"reassoc", "nsz", "contract"}  # a row's length alone decides how it is added up
_UINT8_MAX = np.float32(255)
_NO_SPREAD = np.float32(1e-30)  # as in noria.model.quantized
_WHOLE = np.float32(1.5 * 2**23)  # added and taken off again it rounds to whole numbers
_LOG2_E = np.float32(1.4426950408889634)
_LN2_HIGH = np.float32(0.693359375)  # of few bits, so that products with it are exact
_LN2_LOW = np.float32(np.log(2) - 0.693359375)
_COEFFICIENTS = tuple(np.float32(1 / one) for one in (5040, 720, 120, 24, 6, 2))
_LEAST_EXP, _MOST_EXP = np.float32(-87), np.float32(88)


@compiled(fastmath={"contract"})
def exp(x):  # type: ignore[no-untyped-def]
    """e^x of a float32, in instructions that LLVM makes vectors of; from -87 to 88.

    2^n · e^r by Taylor's sum up to r^7 / 7!: |r| is at most ln 2 / 2, so 1e-8 is left out, and
    with rounding the relative error is below 1e-7.
    """
    x = min(max(x, _LEAST_EXP), _MOST_EXP)
    whole = _rounded(x * _LOG2_E)
    rest = x - whole * _LN2_HIGH - whole * _LN2_LOW
    a, b, c, d, e, f = _COEFFICIENTS
    one = np.float32(1)
    tail = ((((((a * rest + b) * rest + c) * rest + d) * rest + e) * rest + f) * rest + one) * rest
    exponent = np.int32((np.int32(whole) + np.int32(127)) << np.int32(23))
    return (tail + one) * exponent.view(np.float32)


@compiled()
def _rounded(x):  # type: ignore[no-untyped-def]
    """To the nearest whole number, half to even; below 2^22."""
    return np.float32(x + _WHOLE) - _WHOLE


def _extremes_of(e: Emitter, values: Any, num_vectors: Any, found: Any) -> None:
    """The least and the largest, side by side; both no number where one of the values is none.

    LLVM makes no vectors of such a loop by itself.
    """
    b, first = e.builder, e.load(FLOATS, values)
    for place, name in enumerate(("llvm.minimum.v16f32", "llvm.maximum.v16f32")):
        (kept,) = e.sums(FLOATS, 1)
        b.store(first, kept)
        with e.loop(num_vectors) as number:
            one = e.load(FLOATS, e.at(values, (number.index, VECTOR_BYTES)))
            b.store(e.call(name, FLOATS, one, b.load(kept)), kept)
        vector, distance = b.load(kept), LANES // 2
        while distance:
            other = e.lanes(vector, vector, [(lane + distance) % LANES for lane in range(LANES)])
            vector = e.call(name, FLOATS, other, vector)
            distance //= 2
        e.store(b.extract_element(vector, I32(0)), e.at(found, (place, 4)))


_extremes = kernel(_extremes_of, 3)


@compiled()
def round_row(x, integers, lows, steps):  # type: ignore[no-untyped-def]
    """x = low + step · integer, from 0 to 255, in groups with a low and a step each."""
    num_groups = len(lows)
    size = len(x) // num_groups
    extremes = np.empty(2, np.float32)
    for group in range(num_groups):
        given = x[group * size : (group + 1) * size]
        found = integers[group * size : (group + 1) * size]
        _extremes((given.ctypes.data, size // LANES, extremes.ctypes.data))
        low = extremes[0]
        step = max(extremes[1] - low, _NO_SPREAD) / _UINT8_MAX
        for i in range(size):
            found[i] = np.uint8(np.int32(_rounded((given[i] - low) / step)))
        lows[group], steps[group] = low, step


@compiled(fastmath=_REORDERED)
def norm_row(x, weight, epsilon, normed):  # type: ignore[no-untyped-def]
    """RMSNorm's."""
    squares = np.float32(0)
    for i in range(len(x)):  # by index: numba's iterator hides the sum from LLVM
        squares += x[i] * x[i]
    scale = np.float32(1) / np.sqrt(squares / np.float32(len(x)) + epsilon)
    for i in range(len(x)):
        normed[i] = x[i] * scale * weight[i]


@compiled(fastmath={"contract"})
def rotate(heads, cos, sin, scale, turned):  # type: ignore[no-untyped-def]
    """The pairs (i, i + D/2) of each head, turned, times a scale."""
    half = len(cos)
    for head in range(len(heads)):
        for i in range(half):
            first, second = heads[head, i], heads[head, half + i]
            turned[head, i] = (first * cos[i] - second * sin[i]) * scale
            turned[head, half + i] = (second * cos[i] + first * sin[i]) * scale


@compiled(fastmath={"contract"})
def gate_row(gates_and_ups, gated):  # type: ignore[no-untyped-def]
    """silu(gate) · up."""
    num = len(gated)
    for i in range(num):
        gate, up = gates_and_ups[i], gates_and_ups[num + i]
        gated[i] = gate / (np.float32(1) + exp(-gate)) * up


@compiled(fastmath=_REORDERED)
def softmax_row(scores, num_read):  # type: ignore[no-untyped-def]
    """The first scores become e^(score - the largest), the others 0; returns the sum.

    They fill whole vectors.
    """
    extremes = np.empty(2, np.float32)
    for i in range(num_read, len(scores)):
        scores[i] = -np.inf
    _extremes((scores.ctypes.data, len(scores) // LANES, extremes.ctypes.data))
    largest, total = extremes[1], np.float32(0)
    for i in range(num_read, len(scores)):
        scores[i] = 0
    for i in range(num_read):
        scores[i] = exp(scores[i] - largest)
        total += scores[i]
    return total
