"""Frames of the line between server and worker: a length, then that many bytes of JSON.

In: lists of messages. Out: bytes, and back. Nothing on this line is ever executed, and a length is
checked before there is room for it. This module does not know what messages say.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

from noria.errors import FormatError

Message = dict[str, Any]

MAX_FRAME_BYTES = 64 << 20  # attention of every head over a long text is the largest answer
_LENGTH = struct.Struct(">I")


def frame_of(messages: Sequence[Message]) -> bytes:
    """The frame of some messages. Raises FormatError if it would be too large."""
    text = json.dumps(messages, ensure_ascii=False, separators=(",", ":"))
    data = text.encode("utf-8", "surrogatepass")
    if len(data) > MAX_FRAME_BYTES:
        raise FormatError(
            f"messages of {len(data)} bytes", f"at most {MAX_FRAME_BYTES}", "ask for less at once"
        )
    return _LENGTH.pack(len(data)) + data


def read_frame(line: BinaryIO) -> list[Message] | None:
    """The messages of the next frame; None at the end of the line.

    Raises FormatError for a frame that is too large, torn, or no list of JSON objects.
    """
    head = line.read(_LENGTH.size)
    if not head:
        return None
    num_bytes = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else MAX_FRAME_BYTES + 1
    if num_bytes > MAX_FRAME_BYTES:
        raise FormatError(
            f"a frame of {num_bytes} bytes, or a torn one", f"at most {MAX_FRAME_BYTES}"
        )
    data = line.read(num_bytes)
    if len(data) < num_bytes:
        raise FormatError(f"a frame torn after {len(data)} bytes", f"{num_bytes} bytes")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"a frame that is no JSON ({error})", "a list of messages") from error
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise FormatError("a frame of other JSON", "a list of messages")
    return found
