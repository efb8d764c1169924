"""The JSON header of a safetensors file, read piece by piece within bounds.

In: the header's bytes. Out: names with type, shape and offsets. A JSON parser would build whatever
a header holds before anything could be checked, at up to thirty times its size; here nothing larger
than one entry is built, and the metadata is checked and passed over.
This module does not know where tensors lie in the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, final

MAX_TENSORS = 2**14  # the largest shards of today hold a few thousand
MAX_NAME_BYTES = 256
MAX_ENTRY_BYTES = 1024
MAX_METADATA_PAIRS = 10_000
MAX_METADATA_VALUE_BYTES = 2**20
MAX_DIMENSIONS = 8
METADATA = "__metadata__"

# Possessive, so that no input makes the matcher remember where it came from.
_SPACE = re.compile(rb"[ \t\n\r]*+")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_ENTRY = re.compile(rb"\{[^{}]*+\}")


def header_entries(raw: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each tensor's name and its "dtype", "shape" and "data_offsets", metadata left out.

    Counts are proved to be whole numbers from 0 to 2^63 - 1. Raises ValueError for anything else.
    """
    scanner = _Scanner(raw)
    names: set[str] = set()
    if scanner.symbol(b"{") and not scanner.found(b"}"):
        while True:
            name = _new(names, scanner.string(MAX_NAME_BYTES), MAX_TENSORS + 1)
            scanner.symbol(b":")
            if name == METADATA:
                _pass_metadata(scanner)
            else:
                yield name, scanner.entry()
            if scanner.symbol(b",}") == b"}":
                break
    scanner.end()


def _pass_metadata(scanner: _Scanner) -> None:
    """Check an object of strings, and forget it."""
    keys: set[str] = set()
    scanner.symbol(b"{")
    if scanner.found(b"}"):
        return
    while True:
        _new(keys, scanner.string(MAX_NAME_BYTES), MAX_METADATA_PAIRS)
        scanner.symbol(b":")
        scanner.string(MAX_METADATA_VALUE_BYTES)
        if scanner.symbol(b",}") == b"}":
            return


def _new(names: set[str], name: str, max_names: int) -> str:
    if name in names:
        raise ValueError(f"the name {name!r} twice")
    if len(names) == max_names:
        raise ValueError(f"more than {max_names} names")
    names.add(name)
    return name


@final
class _Scanner:
    """A position in the header that only moves forwards."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._position = 0

    def symbol(self, expected: bytes) -> bytes:
        """The next byte beyond white space, one of those expected."""
        self._pass_space()
        symbol = self._raw[self._position : self._position + 1]
        if not symbol or symbol not in expected:
            raise ValueError(f"{symbol!r} at byte {self._position} of the header")
        self._position += 1
        return symbol

    def found(self, symbol: bytes) -> bool:
        """Whether the next byte beyond white space is this one; if so, it is passed."""
        self._pass_space()
        is_next = self._raw.startswith(symbol, self._position)
        self._position += is_next
        return is_next

    def string(self, max_bytes: int) -> str:
        """The next string."""
        text: str = json.loads(self._match(_STRING, max_bytes + 2, "string"))
        text.encode("utf-8")  # half a surrogate pair can be spelled in JSON, but is no text
        return text

    def entry(self) -> dict[str, Any]:
        """The next object, which describes one tensor."""
        text = self._match(_ENTRY, MAX_ENTRY_BYTES, "entry")
        value: dict[str, Any] = json.loads(
            text,
            object_pairs_hook=_entry_of_pairs,
            parse_int=_count,
            parse_float=_count,
            parse_constant=_count,
        )
        return value

    def end(self) -> None:
        """Make sure that nothing follows."""
        self._pass_space()
        if self._position < len(self._raw):
            raise ValueError(f"more after its end, at byte {self._position} of the header")

    def _match(self, pattern: re.Pattern[bytes], max_bytes: int, what: str) -> str:
        self._pass_space()
        found = pattern.match(self._raw, self._position, self._position + max_bytes)
        if found is None:
            raise ValueError(f"no {what} of {max_bytes} bytes or less at byte {self._position}")
        self._position = found.end()
        return found.group().decode("utf-8")

    def _pass_space(self) -> None:
        found = _SPACE.match(self._raw, self._position)
        self._position = found.end() if found else self._position


def _count(text: str) -> int:
    # "-0" is a number for Python and none for the reference reader.
    if not text.isdecimal() or len(text) > 19 or int(text) >= 2**63:
        raise ValueError(f"the number {text:.40}")
    return int(text)


def _entry_of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(pairs) != 3 or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError("an entry that is not dtype, shape and data_offsets")
    shape, offsets = value["shape"], value["data_offsets"]
    if not isinstance(value["dtype"], str) or not _is_counts(shape) or not _is_counts(offsets):
        raise ValueError("an entry with values of other types")
    if len(shape) > MAX_DIMENSIONS or len(offsets) != 2:
        raise ValueError(f"{len(shape)} dimensions and {len(offsets)} offsets")
    return value


def _is_counts(value: object) -> bool:
    return isinstance(value, list) and all(type(number) is int for number in value)
