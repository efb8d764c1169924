"""SentencePiece's compiled normalisation: which characters become which.

In: the bytes of `precompiled_charsmap`. Out: a dictionary of texts. The bytes are the size of a
double-array trie (4 bytes, little-endian), the trie, and the replacements, each ended by a zero
byte; a leaf's value is where its replacement begins (sentencepiece, src/normalizer.cc; the trie's
units: darts-clone). Every position is checked against the trie before it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

MAX_KEY_BYTES = 64  # of one text that is replaced; SentencePiece's own have at most 18
MAX_NODES = 1 << 20  # of the trie, each time one is reached; that of nmt_nfkc has 240,000
MAX_REPLACEMENT_BYTES = 1 << 10  # SentencePiece's own have at most 33
_ROWS = 1 << 12  # nodes whose children are looked for at once: 4 MB
_LEAF, _WIDE, _SIGN = np.uint32(1 << 8), np.uint32(1 << 9), np.uint32(1 << 31)
_LABELS = np.arange(1, 256, dtype=np.uint32)  # a zero byte ends a key and is in none

_Units = npt.NDArray[np.uint32]


@lru_cache(maxsize=2)  # a tokenizer is built once to prove it and once to be used
def read_charsmap(data: bytes) -> Mapping[str, str]:
    """The texts that are replaced, each with its replacement; nothing for no bytes.

    Raises ValueError for a trie that is torn, leads outside of itself, or in circles.
    """
    if not data:
        return MappingProxyType({})
    size = int.from_bytes(data[:4], "little")
    if len(data) < 8 or size % 4 or not 4 <= size <= len(data) - 4:
        raise ValueError(f"a charsmap of {len(data)} bytes with a trie of {size}")
    units = np.frombuffer(data, "<u4", size // 4, 4).astype(np.uint32)
    texts = data[4 + size :]
    found: dict[str, str] = {}
    for key, place in _keys(units):
        end = texts.find(b"\0", place, place + MAX_REPLACEMENT_BYTES)
        if end < 0:
            raise ValueError(f"a charsmap with a replacement at {place} that does not end")
        found[key.decode("utf-8")] = texts[place:end].decode("utf-8")
    return MappingProxyType(found)


def _keys(units: _Units) -> Iterator[tuple[bytes, int]]:
    """Every key of a trie with its value, the shorter ones first."""
    keys, nodes = [b""], _behind(units, np.zeros(1, np.uint32))
    num_nodes = 0
    for _ in range(MAX_KEY_BYTES):
        longer: list[bytes] = []
        reached: list[npt.NDArray[np.uint32]] = []
        for first in range(0, len(keys), _ROWS):
            rows, places = _children(units, nodes[first : first + _ROWS])
            num_nodes += len(rows)
            if num_nodes > MAX_NODES:
                raise ValueError(f"a charsmap whose trie has more than {MAX_NODES} branches")
            labels = (units[places] & np.uint32(0xFF)).tolist()
            longer += [
                keys[first + row] + bytes([label])
                for row, label in zip(rows.tolist(), labels, strict=True)
            ]
            reached.append(places)
        if not longer:
            return
        places = np.concatenate(reached)
        keys, nodes = longer, _behind(units, places)
        for number in np.flatnonzero(units[places] & _LEAF).tolist():
            if nodes[number] >= len(units):
                raise ValueError("a charsmap whose trie leads outside of itself")
            yield keys[number], int(units[nodes[number]] & ~_SIGN)
    raise ValueError(f"a charsmap with a key of more than {MAX_KEY_BYTES} bytes")


def _children(units: _Units, nodes: _Units) -> tuple[npt.NDArray[np.int64], _Units]:
    """Which of the nodes have children, a row for each child, and the children's places."""
    places = nodes[:, None] ^ _LABELS  # (N, 255): where a node's child for each byte would be
    inside = places < len(units)
    found = units[np.where(inside, places, 0)]
    rows, columns = np.nonzero(inside & ((found & (_SIGN | np.uint32(0xFF))) == _LABELS))
    return rows, places[rows, columns]


def _behind(units: _Units, places: _Units) -> _Units:
    """Where the children of the units at these places are counted from."""
    found = units[places]
    shift = (found & _WIDE) >> np.uint32(6)
    return places ^ ((found >> np.uint32(10)) << shift)
