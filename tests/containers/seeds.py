"""Small true files, and where their fields stand: what the mutants are made from.

GGUF files are written by the `gguf` package, safetensors files by the `safetensors` package; the
fields are found by walks over the bytes that share nothing with the readers under test.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from safetensors import TensorSpec, serialize

KINDS = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K")
SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


@dataclass(frozen=True)
class Field:
    """Bytes [start, end) of a file: a little-endian "number", a "text", or a "token" of JSON."""

    start: int
    end: int
    form: str


@dataclass(frozen=True)
class Seed:
    """A true file: its header ends at `data_start`."""

    data: bytes
    fields: tuple[Field, ...]
    data_start: int


def quantized(kind: str, rows: int, seed: int) -> np.ndarray:
    """Rows of two random blocks of a kind (or of 8 plain numbers), as the gguf package has them."""
    generator = np.random.default_rng(seed)
    if kind == "F32":
        return generator.standard_normal((rows, 8), np.float32)
    if kind == "F16":
        return generator.standard_normal((rows, 8), np.float32).astype(np.float16)
    _, block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    num_blocks = 8 if kind == "BF16" else 2
    return generator.integers(0, 256, (rows, num_blocks * block_bytes), np.uint8)


def write_gguf(path: Path, *, alignment: int | None = None, kinds: tuple[str, ...] = KINDS) -> None:
    """Write a file with every type of metadata and one tensor of each kind."""
    writer = gguf.GGUFWriter(path, "llama")
    if alignment is not None:
        writer.add_custom_alignment(alignment)
    value = gguf.GGUFValueType
    for name, number in (("UINT8", 200), ("INT8", -3), ("UINT16", 40_000), ("INT16", -5)):
        writer.add_key_value(f"a.{name}", number, value[name])
    for name, number in (("UINT32", 2**32 - 1), ("INT32", -7), ("UINT64", 2**63), ("INT64", -9)):
        writer.add_key_value(f"a.{name}", number, value[name])
    writer.add_float32("a.float32", 1e-5)
    writer.add_float64("a.float64", 0.1)
    writer.add_bool("a.bool", True)
    writer.add_string("a.text", "水车 ✓")
    writer.add_array("a.tokens", ["<s>", "wheel", "水", "Ġa"])
    writer.add_array("a.types", [3, 1, 1, -1])
    writer.add_array("a.scores", [0.5, -1.5])
    writer.add_array("a.flags", [True, False])
    for number, kind in enumerate(kinds):
        raw_kind = None if kind in ("F32", "F16") else gguf.GGMLQuantizationType[kind]
        writer.add_tensor(f"blk.{kind}", quantized(kind, 3, number), raw_dtype=raw_kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_fields(data: bytes) -> Iterator[Field]:
    """Every field of a true file's header, in order."""
    position = 0

    def number(size: int) -> Field:
        nonlocal position
        position += size
        return Field(position - size, position, "number")

    def value_of(field: Field) -> int:
        return int.from_bytes(data[field.start : field.end], "little")

    def text() -> Iterator[Field]:
        nonlocal position
        length = number(8)
        yield length
        position += value_of(length)
        yield Field(length.end, position, "text")

    def value(code: int) -> Iterator[Field]:
        if code == 8:
            yield from text()
        elif code == 9:
            yield (element := number(4))
            yield (count := number(8))
            for _ in range(value_of(count)):
                yield from value(value_of(element))
        else:
            yield number(SCALAR_BYTES[code])

    yield number(4)
    yield number(4)
    yield (num_tensors := number(8))
    yield (num_pairs := number(8))
    for _ in range(value_of(num_pairs)):
        yield from text()
        yield (code := number(4))
        yield from value(value_of(code))
    for _ in range(value_of(num_tensors)):
        yield from text()
        yield (num_dimensions := number(4))
        for _ in range(value_of(num_dimensions)):
            yield number(8)
        yield number(4)
        yield number(8)


def gguf_seeds() -> list[Seed]:
    """Three true files: one with everything, one aligned otherwise, one of version 2."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed.gguf"
        write_gguf(path)
        everything = path.read_bytes()
        write_gguf(path, alignment=64, kinds=("F32", "Q8_0"))
        aligned = path.read_bytes()
    older = aligned[:4] + (2).to_bytes(4, "little") + aligned[8:]
    return [_gguf_seed(data) for data in (everything, aligned, older)]


def _gguf_seed(data: bytes) -> Seed:
    fields = tuple(gguf_fields(data))
    return Seed(data, fields, fields[-1].end)


def safetensors_seeds() -> list[Seed]:
    """Two true files: one with metadata and every type, one plain."""
    types = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4}
    types |= {"int16": 2, "int8": 1, "uint8": 1, "bool": 1}
    alive = {name: np.full(6 * size, 1, np.uint8) for name, size in types.items()}
    specs = {
        f"layer.{name}": TensorSpec(
            dtype=name, shape=[2, 3], data_ptr=data.ctypes.data, data_len=data.nbytes
        )
        for name, data in alive.items()
    }
    names = list(specs)
    plain = {name: specs[name] for name in names[:2]}
    everything = serialize(specs, {"format": "pt", "words": '{"quote": "\\" 水"}'})
    return [_safetensors_seed(everything), _safetensors_seed(serialize(plain, None))]


def _safetensors_seed(data: bytes) -> Seed:
    end = 8 + int.from_bytes(data[:8], "little")
    json.loads(data[8:end])
    tokens = re.finditer(rb'"(?:[^"\\]|\\.)*"|[0-9]+|[{}\[\],:]', data[8:end])
    spans = [Field(8 + token.start(), 8 + token.end(), "token") for token in tokens]
    return Seed(data, (Field(0, 8, "number"), *spans), end)
