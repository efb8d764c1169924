"""Quantized blocks of GGUF files, turned into float32.

In: the bytes of a tensor, in file order. Out: its values. Every kind is a row of blocks of equal
size; a block is a few scales and small integers (layouts: ggml's ggml-quants.h). Work is done slice
by slice, so that nothing larger than a slice is allocated beside the result.
This module does not know names, files or shapes.

Letters: N blocks in a slice; G groups within a block that share a scale; d a scale, m a minimum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

SLICE_ELEMENTS = 2**16  # whole blocks of every kind; its temporaries stay in a core's cache

Floats = npt.NDArray[np.float32]
Blocks = npt.NDArray[np.void]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Kind:
    """A type of tensor: its number in files, a block's layout, and what a block stands for."""

    code: int
    block_elements: int
    layout: np.dtype[np.void]
    values: Callable[[Blocks], Floats]

    @property
    def block_bytes(self) -> int:
        """The size of one block in the file."""
        return self.layout.itemsize


def dequantize_from(source: BinaryIO, kind: str, out: Floats) -> int:
    """Fill `out` (flat, whole blocks) from where `source` stands; returns the bytes it had.

    They are fewer than `out` takes only if the file ends before; the rest of `out` is undefined.
    """
    form = KINDS[kind]
    num_blocks = out.size // form.block_elements
    slice_blocks = SLICE_ELEMENTS // form.block_elements
    buffer = bytearray(min(slice_blocks, num_blocks) * form.block_bytes)
    total_bytes = 0
    for first in range(0, num_blocks, slice_blocks):
        count = min(slice_blocks, num_blocks - first)
        wanted = memoryview(buffer)[: count * form.block_bytes]
        read_bytes = _read_into(source, wanted)
        total_bytes += read_bytes
        if read_bytes < len(wanted):
            break
        part = out[first * form.block_elements : (first + count) * form.block_elements]
        part[:] = dequantize(np.frombuffer(wanted, form.layout), kind).reshape(-1)
    return total_bytes


def dequantize(blocks: Blocks, kind: str) -> Floats:
    """Values (N, block elements) of blocks of a kind's layout, in float32 as ggml computes them."""
    with np.errstate(all="ignore"):  # a scale may be infinite: it stays what the file says
        return KINDS[kind].values(blocks)


def _read_into(source: BinaryIO, target: memoryview) -> int:
    """Read until the target is full or the file ends."""
    filled = 0
    while filled < len(target):
        count = source.readinto(target[filled:])  # type: ignore[attr-defined]
        if not count:
            break
        filled += count
    return filled


def _float32(blocks: Blocks) -> Floats:
    return blocks["x"].astype(np.float32)[:, None]


def _bfloat16(blocks: Blocks) -> Floats:
    return (blocks["x"].astype(np.uint32) << 16).view(np.float32)[:, None]


def _scale(blocks: Blocks, field: str = "d") -> Floats:
    return blocks[field].astype(np.float32)[:, None]  # (N, 1)


def _nibbles(quants: Bytes) -> Bytes:
    """(…, B) bytes to (…, 2B): all low halves, then all high halves."""
    return np.concatenate([quants & 15, quants >> 4], axis=-1)


def _shifted(upper: Bytes) -> Bytes:
    """Upper bits, moved above the four lower ones."""
    return np.left_shift(upper, 4, dtype=np.uint8)


def _with_fifth_bit(blocks: Blocks) -> Bytes:
    """(N, 32) numbers of 5 bits: bit i of `high` belongs to number i."""
    fifth = np.unpackbits(blocks["high"], axis=-1, bitorder="little")  # (N, 32)
    return _nibbles(blocks["low"]) | _shifted(fifth)


def _q8_0(blocks: Blocks) -> Floats:
    return _scale(blocks) * blocks["q"].astype(np.float32)


def _q4_0(blocks: Blocks) -> Floats:
    return _scale(blocks) * (_nibbles(blocks["low"]).astype(np.float32) - 8)


def _q4_1(blocks: Blocks) -> Floats:
    return _scale(blocks) * _nibbles(blocks["low"]).astype(np.float32) + _scale(blocks, "m")


def _q5_0(blocks: Blocks) -> Floats:
    return _scale(blocks) * (_with_fifth_bit(blocks).astype(np.float32) - 16)


def _q5_1(blocks: Blocks) -> Floats:
    return _scale(blocks) * _with_fifth_bit(blocks).astype(np.float32) + _scale(blocks, "m")


def _group_scales(packed: Bytes) -> tuple[Floats, Floats]:
    """Scales and minimums (N, G=8) of 6 bits each, from 12 bytes (N, 12).

    The first 4 bytes hold scales 0-3, the next 4 minimums 0-3; their upper 2 bits are the upper
    bits of scales and minimums 4-7, whose lower halves share the last 4 bytes.
    """
    first, second, third = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([first & 63, (third & 15) | (first >> 6 << 4)], axis=-1)
    minimums = np.concatenate([second & 63, (third >> 4) | (second >> 6 << 4)], axis=-1)
    return scales.astype(np.float32), minimums.astype(np.float32)


def _in_groups(blocks: Blocks, quants: Bytes) -> Floats:
    """Values of 8 groups of 32 numbers (N, 256), each group with its scale and minimum."""
    scales, minimums = _group_scales(blocks["scales"])
    d = (_scale(blocks) * scales)[:, :, None]  # (N, G, 1)
    m = (_scale(blocks, "m") * minimums)[:, :, None]
    grouped = quants.reshape(len(blocks), 8, 32).astype(np.float32)
    return (d * grouped - m).reshape(len(blocks), 256)


def _q4_k(blocks: Blocks) -> Floats:
    return _in_groups(blocks, _nibbles(blocks["low"].reshape(-1, 4, 32)))


def _q5_k(blocks: Blocks) -> Floats:
    low = _nibbles(blocks["low"].reshape(-1, 4, 32)).reshape(-1, 8, 32)
    bit = np.arange(8, dtype=np.uint8)[:, None]  # bit g of byte i belongs to number i of group g
    fifth = blocks["high"][:, None, :] >> bit & np.uint8(1)
    return _in_groups(blocks, low | _shifted(fifth))


def _q6_k(blocks: Blocks) -> Floats:
    low = _nibbles(blocks["low"].reshape(-1, 2, 64)).reshape(-1, 2, 4, 32)
    shift = np.array([0, 2, 4, 6], np.uint8)[:, None]
    high = blocks["high"].reshape(-1, 2, 1, 32) >> shift & np.uint8(3)  # (N, 2, 4, 32)
    quants = (low | _shifted(high)).astype(np.float32).reshape(-1, 16, 16) - 32
    d = _scale(blocks) * blocks["scales"].astype(np.float32)  # (N, G=16)
    return (d[:, :, None] * quants).reshape(len(blocks), 256)


def _layout(*fields: tuple[str, str] | tuple[str, str, int]) -> np.dtype[np.void]:
    return np.dtype(list(fields))


_D, _M, _LOW16 = ("d", "<f2"), ("m", "<f2"), ("low", "u1", 16)
_HIGH4, _SCALES12, _LOW128 = ("high", "u1", 4), ("scales", "u1", 12), ("low", "u1", 128)

KINDS = {
    "F32": Kind(0, 1, _layout(("x", "<f4")), _float32),
    "F16": Kind(1, 1, _layout(("x", "<f2")), _float32),
    "BF16": Kind(30, 1, _layout(("x", "<u2")), _bfloat16),
    "Q8_0": Kind(8, 32, _layout(_D, ("q", "i1", 32)), _q8_0),
    "Q4_0": Kind(2, 32, _layout(_D, _LOW16), _q4_0),
    "Q4_1": Kind(3, 32, _layout(_D, _M, _LOW16), _q4_1),
    "Q5_0": Kind(6, 32, _layout(_D, _HIGH4, _LOW16), _q5_0),
    "Q5_1": Kind(7, 32, _layout(_D, _M, _HIGH4, _LOW16), _q5_1),
    "Q4_K": Kind(12, 256, _layout(_D, _M, _SCALES12, _LOW128), _q4_k),
    "Q5_K": Kind(13, 256, _layout(_D, _M, _SCALES12, ("high", "u1", 32), _LOW128), _q5_k),
    "Q6_K": Kind(14, 256, _layout(_LOW128, ("high", "u1", 64), ("scales", "i1", 16), _D), _q6_k),
}
