"""GGUF files, checked before anything is allocated, and their tensors as float32.

In: a file of llama.cpp's format, version 2 or 3, little-endian. Out: its metadata as Python values,
its tensors as byte ranges proved to lie inside the file without overlap, and one tensor at a time,
dequantised. The format: github.com/ggml-org/ggml/blob/master/docs/gguf.md.
This module does not know what a model is, and does not import torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from noria.containers.bounded import BoundedReader, refusal
from noria.containers.dequantize import KINDS, dequantize_from
from noria.errors import FormatError, InputError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_PAIRS = 10_000  # real files have dozens
MAX_TENSORS = 2**14  # real files have hundreds, the largest a few thousand
MAX_KEY_BYTES = 2**16 - 1  # the format's own limits for keys, names and dimensions
MAX_NAME_BYTES = 64
MAX_DIMENSIONS = 4
MAX_ALIGNMENT_BYTES = 2**16
ALIGNMENT_KEY = "general.alignment"
DEFAULT_ALIGNMENT_BYTES = 32

_ENTRY_BYTES = 600  # what a pair or a tensor occupies beside its strings and arrays
_KIND_NAMES = {kind.code: name for name, kind in KINDS.items()}
_UINT32, _STRING, _ARRAY = 4, 8, 9
_NUMBERS: dict[int, np.dtype[Any]] = {
    0: np.dtype("<u1"),
    1: np.dtype("<i1"),
    2: np.dtype("<u2"),
    3: np.dtype("<i2"),
    4: np.dtype("<u4"),
    5: np.dtype("<i4"),
    6: np.dtype("<f4"),
    7: np.dtype("?"),
    10: np.dtype("<u8"),
    11: np.dtype("<i8"),
    12: np.dtype("<f8"),
}


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor: shape with the slowest dimension first; [start, end) counts from byte 0."""

    name: str
    kind: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class GgufFile:
    """What a file's header says, checked; its tensors are read one by one."""

    path: Path
    version: int
    metadata: Mapping[str, Any]
    tensors: Mapping[str, GgufTensor]


def read_gguf(path: Path) -> GgufFile:
    """Read and check a GGUF file's header: metadata, and where each tensor lies.

    Raises InputError if the file is missing or can't be opened, FormatError if it lies about
    itself or holds a type of tensor that is not read here.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist", "a GGUF file", "check the path")
    try:
        with path.open("rb", buffering=0) as file:
            file_bytes = path.stat().st_size
            reader = BoundedReader(path, file, file_bytes)
            version, num_tensors, num_pairs = _read_start(path, reader)
            metadata = _read_metadata(path, reader, num_pairs)
            alignment = _alignment(path, metadata)
            found = [_read_tensor(path, reader, alignment) for _ in range(num_tensors)]
    except OSError as error:
        raise InputError(f"{path} can't be read ({error})", "a GGUF file", "check it") from error
    base = -(-reader.offset // alignment) * alignment
    tensors = _placed(path, found, base, file_bytes)
    return GgufFile(path, version, MappingProxyType(metadata), MappingProxyType(tensors))


def read_gguf_tensor(file: GgufFile, name: str) -> npt.NDArray[np.float32]:
    """One tensor's values, dequantised; beside the result only small slices are in memory.

    Raises InputError if there is no such tensor or the file can't be read, FormatError if the file
    became shorter since its header was read.
    """
    if name not in file.tensors:
        raise InputError(f"{file.path} has no tensor {name!r}", "one that it has", "check the name")
    tensor = file.tensors[name]
    values = np.empty(tensor.shape, np.float32)
    try:
        with file.path.open("rb", buffering=0) as source:
            source.seek(tensor.start)
            num_bytes = dequantize_from(source, tensor.kind, values.reshape(-1))
    except OSError as error:
        raise InputError(f"{file.path} can't be read ({error})", "the file", "check it") from error
    if num_bytes != tensor.end - tensor.start:
        what = f"tensor {name!r} ends at byte {tensor.start + num_bytes}"
        raise refusal(file.path, what, f"byte {tensor.end}")
    return values


def _read_start(path: Path, reader: BoundedReader) -> tuple[int, int, int]:
    """Version, number of tensors, number of pairs."""
    magic = reader.take(4)
    if magic != MAGIC:
        raise refusal(path, f"a file that begins with {magic!r}", f"{MAGIC!r}, a GGUF file")
    version = reader.uint32()
    if version not in VERSIONS:
        raise refusal(path, f"GGUF version {version}", "2 or 3, little-endian")
    num_tensors, num_pairs = reader.uint64(), reader.uint64()
    if num_tensors > MAX_TENSORS:
        raise refusal(path, f"{num_tensors} tensors", f"at most {MAX_TENSORS}")
    if num_pairs > MAX_PAIRS:
        raise refusal(path, f"{num_pairs} pairs of metadata", f"at most {MAX_PAIRS}")
    return version, num_tensors, num_pairs


def _read_metadata(path: Path, reader: BoundedReader, num_pairs: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for _ in range(num_pairs):
        key = reader.string(MAX_KEY_BYTES)
        if not key or key in metadata:
            raise refusal(path, f"the key {key!r}", "keys that are neither empty nor there twice")
        metadata[key] = _read_value(path, reader, key)
        reader.charge(_ENTRY_BYTES)
    return metadata


def _read_value(path: Path, reader: BoundedReader, key: str) -> Any:
    code = reader.uint32()
    if key == ALIGNMENT_KEY and code != _UINT32:
        raise refusal(path, f"{key} of type {code}", f"type {_UINT32}, a number of 32 bits")
    if code == _STRING:
        return reader.string()
    if code in _NUMBERS:
        return reader.numbers(_NUMBERS[code], 1)[0]
    if code != _ARRAY:
        raise refusal(path, f"{key!r} of type {code}", "a type from 0 to 12")
    element, count = reader.uint32(), reader.uint64()
    if element == _STRING:
        return reader.strings(count)
    if element in _NUMBERS:
        return reader.numbers(_NUMBERS[element], count)
    # llama.cpp reads no arrays of arrays either, and no model has them.
    raise refusal(path, f"{key!r}, an array of type {element}", "an array of strings or numbers")


def _alignment(path: Path, metadata: Mapping[str, Any]) -> int:
    alignment: int = metadata.get(ALIGNMENT_KEY, DEFAULT_ALIGNMENT_BYTES)
    if not 8 <= alignment <= MAX_ALIGNMENT_BYTES or alignment & (alignment - 1):
        expected = f"a power of two from 8 to {MAX_ALIGNMENT_BYTES}"
        raise refusal(path, f"an alignment of {alignment}", expected)
    return alignment


def _read_tensor(path: Path, reader: BoundedReader, alignment: int) -> GgufTensor:
    """One entry; its byte range still counts from the first byte after the header."""
    name = reader.string(MAX_NAME_BYTES)
    num_dimensions = reader.uint32()
    if not 1 <= num_dimensions <= MAX_DIMENSIONS:
        raise refusal(path, f"tensor {name!r} of {num_dimensions} dimensions", "1 to 4")
    sizes = [reader.uint64() for _ in range(num_dimensions)]  # the fastest dimension first
    code, start = reader.uint32(), reader.uint64()
    if code not in _KIND_NAMES:
        raise FormatError(
            f"{path}: tensor {name!r} of type {code}",
            "one of " + ", ".join(KINDS),
            "fetch the model in one of these quantizations",
        )
    kind = KINDS[_KIND_NAMES[code]]
    num_elements = prod(sizes)
    if not 1 <= num_elements < 2**63 or sizes[0] % kind.block_elements:
        what = f"tensor {name!r} of shape {sizes[::-1]}"
        raise refusal(path, what, f"rows of whole blocks of {kind.block_elements}")
    if start % alignment:
        raise refusal(path, f"tensor {name!r} at byte {start}", f"a multiple of {alignment}")
    end = start + num_elements // kind.block_elements * kind.block_bytes
    reader.charge(_ENTRY_BYTES)
    return GgufTensor(name, _KIND_NAMES[code], tuple(sizes[::-1]), start, end)


def _placed(
    path: Path, found: Iterable[GgufTensor], base: int, file_bytes: int
) -> dict[str, GgufTensor]:
    """The tensors with byte ranges of the file, in the file's order of names."""
    tensors: dict[str, GgufTensor] = {}
    for entry in found:
        start, end = base + entry.start, base + entry.end
        if end > file_bytes:
            what = f"tensor {entry.name!r} ends at byte {end}"
            raise refusal(path, what, f"at most {file_bytes}, the end of the file")
        if entry.name in tensors:
            raise refusal(path, f"two tensors named {entry.name!r}", "every name once")
        tensors[entry.name] = GgufTensor(entry.name, entry.kind, entry.shape, start, end)
    position = base
    for entry in sorted(tensors.values(), key=lambda entry: entry.start):
        if entry.start < position:
            raise refusal(path, f"tensor {entry.name!r} at byte {entry.start}", f"{position}")
        position = entry.end
    return tensors
