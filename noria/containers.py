"""Safetensors files, checked before anything is allocated.

In: bytes on disk. Out: names, types, shapes and byte ranges, proved to lie inside the file.
The format: 8 bytes little-endian header length, that many bytes of JSON, then the tensors.
This module does not know what a model is, and does not import torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path

from noria.errors import FormatError, InputError

MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors reference reader
DTYPE_BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of a file: byte range [start, end) counts from the file's first byte."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def _refuse(path: Path, what: str, expected: str) -> FormatError:
    return FormatError(f"{path}: {what}", expected, "fetch or export the file again")


def read_safetensors_header(path: Path) -> dict[str, TensorEntry]:
    """Read and check a safetensors header; tensors must fill the file without gap or overlap.

    Raises InputError if the file is missing, FormatError if it lies about itself.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist", "a safetensors file", "check the path")
    file_bytes = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        header_bytes = int.from_bytes(prefix, "little")
        if len(prefix) < 8 or header_bytes > min(MAX_HEADER_BYTES, file_bytes - 8):
            raise _refuse(path, f"a header of {header_bytes} bytes", f"less than {file_bytes}")
        raw = file.read(header_bytes)
    try:
        header = json.loads(raw)
        header.pop("__metadata__", None)
        entries = [_entry(path, name, value, 8 + header_bytes) for name, value in header.items()]
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise _refuse(path, f"a header that can't be read ({error})", "JSON of tensors") from error
    position = 8 + header_bytes
    for entry in sorted(entries, key=lambda entry: (entry.start, entry.end)):
        if entry.start != position:
            raise _refuse(path, f"tensor {entry.name} at byte {entry.start}", f"byte {position}")
        position = entry.end
    if position != file_bytes:
        raise _refuse(path, f"{file_bytes} bytes", f"{position} bytes, the end of the last tensor")
    return {entry.name: entry for entry in entries}


def _entry(path: Path, name: str, value: dict[str, object], base: int) -> TensorEntry:
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if dtype not in DTYPE_BYTES:
        raise _refuse(path, f"tensor {name} of type {dtype}", "one of " + ", ".join(DTYPE_BYTES))
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise _refuse(path, f"tensor {name} of shape {shape}", "counts of zero or more")
    if not isinstance(offsets, list) or not all(type(n) is int for n in offsets):
        raise _refuse(path, f"tensor {name} at {offsets}", "two byte offsets")
    start, end = offsets
    if start < 0 or end - start != prod(shape) * DTYPE_BYTES[str(dtype)]:
        raise _refuse(path, f"tensor {name} of {end - start} bytes", "shape times type")
    return TensorEntry(name, str(dtype), tuple(shape), base + start, base + end)
