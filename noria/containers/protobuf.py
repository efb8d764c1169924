"""A message of Protocol Buffers, taken apart within its own bounds.

In: the bytes of one message. Out: its fields, in order: number and value. Lengths are compared with
what is left before anything is cut out; groups, which no format of ours has, are refused. This
module does not know what the fields mean: the wire format is all it reads
(https://protobuf.dev/programming-guides/encoding/).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10  # 64 bits, seven in a byte
_float32 = struct.Struct("<f").unpack

Value = int | bytes


def message_fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """Number and value of each field of a message.

    A value is an int (a varint, unsigned) or bytes: of a string, bytes or message as they stand, of
    a fixed32 or fixed64 its 4 or 8. Raises ValueError naming the byte where the message is torn.
    """
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if not number:
            raise ValueError(f"a field without number at byte {at}")
        if kind == _VARINT:
            found, at = _varint(data, at)
            yield number, found
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"a field of unknown kind {kind} at byte {at}")
        if length > end - at:
            raise ValueError(f"a field of {length} bytes at byte {at} of {end}")
        yield number, data[at : at + length]
        at += length


def float32_of(value: Value) -> float:
    """The number of a fixed32 field. Raises ValueError for a field of another kind."""
    if not isinstance(value, bytes) or len(value) != 4:
        raise ValueError("a number that is none")
    return float(_float32(value)[0])


def int_of(value: Value) -> int:
    """The number of a varint field, negative ones too. Raises ValueError for another kind."""
    if isinstance(value, bytes):
        raise ValueError("a whole number that is none")
    return value - (1 << 64) if value >> 63 else value


def bytes_of(value: Value) -> bytes:
    """The bytes of a string or a message. Raises ValueError for a field of another kind."""
    if not isinstance(value, bytes):
        raise ValueError("a text that is a number")
    return value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins at a byte, and where the next one begins."""
    value = 0
    for position, byte in enumerate(data[at : at + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * position
        if byte < 0x80:
            if value >> 64:
                break
            return value, at + position + 1
    raise ValueError(f"a number without end at byte {at} of {len(data)}")
