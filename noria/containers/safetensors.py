"""Safetensors files, checked before anything is allocated.

In: bytes on disk. Out: names, types, shapes and byte ranges, proved to lie inside the file.
The format: 8 bytes little-endian header length, that many bytes of JSON, then the tensors.
This module does not know what a model is, and does not import torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from noria.containers.bounded import refusal
from noria.containers.jsonheader import header_entries
from noria.errors import InputError

MAX_HEADER_BYTES = 32 * 2**20  # 100,000 tensors of a sharded model's whole index fill 11 MB
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


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of a file: byte range [start, end) counts from the file's first byte."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_safetensors_header(path: Path) -> dict[str, TensorEntry]:
    """Read and check a safetensors header; tensors must fill the file without gap or overlap.

    Raises InputError if the file is missing or can't be read, FormatError if it lies about itself.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist", "a safetensors file", "check the path")
    try:
        file_bytes = path.stat().st_size
        raw = _read_header(path, file_bytes)
    except OSError as error:
        raise InputError(
            f"{path} can't be read ({error})", "a safetensors file", "check it"
        ) from error
    base = 8 + len(raw)
    try:
        entries = [_entry(path, name, value, base) for name, value in header_entries(raw)]
    except (ValueError, RecursionError) as error:
        raise refusal(path, f"a header that can't be read ({error})", "JSON of tensors") from error
    position = base
    for entry in sorted(entries, key=lambda entry: (entry.start, entry.end)):
        if entry.start != position:
            raise refusal(path, f"tensor {entry.name!r} at byte {entry.start}", f"byte {position}")
        position = entry.end
    if position != file_bytes:
        raise refusal(path, f"{file_bytes} bytes", f"{position} bytes, the end of the last tensor")
    return {entry.name: entry for entry in entries}


def _read_header(path: Path, file_bytes: int) -> bytes:
    with path.open("rb") as file:
        prefix = file.read(8)
        header_bytes = int.from_bytes(prefix, "little")
        most = min(MAX_HEADER_BYTES, file_bytes - 8)
        if len(prefix) < 8 or header_bytes > most:
            raise refusal(path, f"a header of {header_bytes} bytes", f"at most {max(most, 0)}")
        raw = file.read(header_bytes)
    if not raw.startswith(b"{"):
        raise refusal(path, f"a header that begins with {raw[:8]!r}", "'{', a safetensors file")
    if len(raw) < header_bytes:
        raise refusal(path, "a file that became shorter", "one that nobody writes to")
    return raw


def _entry(path: Path, name: str, value: dict[str, Any], base: int) -> TensorEntry:
    dtype, shape, (start, end) = value["dtype"], tuple(value["shape"]), value["data_offsets"]
    if dtype not in DTYPE_BYTES:
        raise refusal(path, f"tensor {name!r} of type {dtype}", "one of " + ", ".join(DTYPE_BYTES))
    # An empty tensor has sizes too: the others must not overflow who multiplies them in order.
    if prod(size or 1 for size in shape) * DTYPE_BYTES[dtype] >= 2**63:
        raise refusal(path, f"tensor {name!r} of shape {list(shape)}", "fewer than 2^63 bytes")
    num_bytes = prod(shape) * DTYPE_BYTES[dtype]
    if end - start != num_bytes:
        raise refusal(path, f"tensor {name!r} of {end - start} bytes", f"{num_bytes}, its shape")
    return TensorEntry(name, dtype, shape, base + start, base + end)
