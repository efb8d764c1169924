"""A GGUF file is read as the gguf package reads it; one that lies about itself is refused."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from seeds import write_gguf

from noria.containers.gguf import read_gguf, read_gguf_tensor
from noria.errors import FormatError, InputError

ARRAY, INT64 = gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.INT64

# ------------------------------------------------------------------ true files


@pytest.mark.parametrize("alignment", [None, 64])
def test_a_file_of_the_gguf_package_is_read_as_it_reads_it(
    tmp_path: Path, alignment: int | None
) -> None:
    path = tmp_path / "m.gguf"
    write_gguf(path, alignment=alignment)
    ours, theirs = read_gguf(path), gguf.GGUFReader(path)
    assert ours.version == 3
    own_fields = ("GGUF.version", "GGUF.tensor_count", "GGUF.kv_count")
    wanted = {k: f.contents() for k, f in theirs.fields.items() if k not in own_fields}
    assert dict(ours.metadata) == wanted
    assert ours.metadata["a.bool"] is True and ours.metadata["a.flags"] == [True, False]
    assert list(ours.tensors) == [tensor.name for tensor in theirs.tensors]
    for tensor in theirs.tensors:
        found = ours.tensors[tensor.name]
        assert found.kind == tensor.tensor_type.name
        assert (found.start, found.end - found.start) == (tensor.data_offset, tensor.n_bytes)
        with np.errstate(all="ignore"):
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        np.testing.assert_array_equal(read_gguf_tensor(ours, tensor.name), values)


def test_the_real_model_is_read_as_the_gguf_package_reads_it(smollm2_gguf: Path) -> None:
    ours, theirs = read_gguf(smollm2_gguf), gguf.GGUFReader(smollm2_gguf)
    for key, value in ours.metadata.items():
        assert value == theirs.fields[key].contents(), key
    assert len(ours.metadata["tokenizer.ggml.tokens"]) == 49_152
    assert len(ours.tensors) == len(theirs.tensors) == 272
    for tensor in theirs.tensors:
        if tensor.n_elements < 10_000_000 and not tensor.name.startswith("blk.1"):
            wanted = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            np.testing.assert_array_equal(read_gguf_tensor(ours, tensor.name), wanted)
    embedding = read_gguf_tensor(ours, "token_embd.weight")
    assert embedding.shape == (49_152, 576) and embedding.dtype == np.float32


def test_strings_and_numbers_across_many_windows_come_back(tmp_path: Path) -> None:
    """The header is read a megabyte at a time: values lie across every such border."""
    generator = random.Random(5)
    words = ["水" * generator.choice((0, 1, 7, 300, 9000)) for _ in range(4000)]
    words += ["a" * (2**20 - 1), "", "b" * 2**20, "c"]
    numbers = [generator.randrange(-(2**63), 2**63) for _ in range(300_000)]
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_array("words", words)
    writer.add_string("one", words[-2])
    writer.add_key_value("numbers", numbers, ARRAY, INT64)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    metadata = read_gguf(tmp_path / "m.gguf").metadata
    assert metadata["words"] == words and metadata["one"] == words[-2]
    assert metadata["numbers"] == numbers


def test_metadata_and_tensors_cannot_be_changed(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf")
    file = read_gguf(tmp_path / "m.gguf")
    with pytest.raises(TypeError):
        file.metadata["a.bool"] = False  # type: ignore[index]


def test_a_file_cut_after_its_header_was_read_is_a_typed_error(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write_gguf(path)
    file = read_gguf(path)
    path.write_bytes(path.read_bytes()[: file.tensors["blk.Q6_K"].start + 7])
    with pytest.raises(FormatError, match=r"tensor 'blk\.Q6_K' ends at byte"):
        read_gguf_tensor(file, "blk.Q6_K")
    path.unlink()
    with pytest.raises(InputError, match="can't be read"):
        read_gguf_tensor(file, "blk.F32")
    with pytest.raises(InputError, match=r"has no tensor 'blk\.F64'"):
        read_gguf_tensor(file, "blk.F64")


def test_a_missing_file_a_folder_and_a_short_file_are_clear_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "no.gguf", tmp_path):
        with pytest.raises(InputError, match="does not exist"):
            read_gguf(path)
    for content in (b"", b"GG", b"GGUF", b"GGUF\3\0\0\0"):
        (tmp_path / "short.gguf").write_bytes(content)
        with pytest.raises(FormatError, match="by its header"):
            read_gguf(tmp_path / "short.gguf")


# ---------------------------------------------------------------- files that lie


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def pair(key: bytes, code: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", code) + value


def array(key: bytes, element: int, count: int, values: bytes) -> bytes:
    return pair(key, 9, struct.pack("<IQ", element, count) + values)


def tensor(name: bytes, sizes: tuple[int, ...], code: int, start: int) -> bytes:
    """`sizes` with the fastest dimension first, as files have them."""
    return (
        text(name)
        + struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes)
        + struct.pack("<IQ", code, start)
    )


def file_of(
    pairs: tuple[bytes, ...] = (),
    tensors: tuple[bytes, ...] = (),
    *,
    data_bytes: int = 128,
    magic: bytes = b"GGUF",
    version: int = 3,
    num_pairs: int | None = None,
    num_tensors: int | None = None,
) -> bytes:
    """A file that says what it is told to say; its tensors are zeros."""
    counts = (
        len(tensors) if num_tensors is None else num_tensors,
        len(pairs) if num_pairs is None else num_pairs,
    )
    header = magic + struct.pack("<IQQ", version, *counts) + b"".join(pairs) + b"".join(tensors)
    return header + bytes(-len(header) % 32) + bytes(data_bytes)


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[bytes, str], None]:
    def check(data: bytes, message: str) -> None:
        path = tmp_path / "lie.gguf"
        path.write_bytes(data)
        with pytest.raises(FormatError, match=message):
            read_gguf(path)

    return check


A = tensor(b"a", (8,), 0, 0)  # 32 bytes


def test_the_files_built_here_are_true_unless_they_are_made_to_lie(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(
        file_of((pair(b"k", 4, struct.pack("<I", 7)),), (A, tensor(b"b", (32, 2), 8, 32)))
    )
    file = read_gguf(path)
    assert dict(file.metadata) == {"k": 7}
    assert {name: entry.shape for name, entry in file.tensors.items()} == {"a": (8,), "b": (2, 32)}
    path.write_bytes(file_of(version=2))
    assert read_gguf(path).version == 2


U32 = struct.pack("<I", 1)
LIES = {
    "another magic": (file_of(magic=b"GGML"), "begins with b'GGML'"),
    "version 1": (file_of(version=1), "GGUF version 1;"),
    "version 4": (file_of(version=4), "GGUF version 4;"),
    "big-endian": (file_of(version=3 << 24), "GGUF version 50331648"),
    "a million tensors": (file_of(num_tensors=10**6), "1000000 tensors"),
    "2^64 - 1 tensors": (file_of(num_tensors=2**64 - 1), "18446744073709551615 tensors"),
    "2^64 - 1 pairs": (file_of(num_pairs=2**64 - 1), "18446744073709551615 pairs"),
    "a pair too many": (file_of(num_pairs=5), "keys that are neither empty"),
    "a tensor beyond": (file_of((), (tensor(b"a", (64,), 0, 0),)), "ends at byte 3[0-9][0-9]"),
    "a tensor far beyond": (file_of((), (tensor(b"a", (8,), 0, 2**40),)), "ends at byte 1099511"),
    "an offset of 2^64 - 32": (file_of((), (tensor(b"a", (8,), 0, 2**64 - 32),)), "ends at byte"),
    "an odd offset": (file_of((), (tensor(b"a", (8,), 0, 4),)), "at byte 4; expected a multiple"),
    "the same place twice": (file_of((), (A, tensor(b"b", (8,), 0, 0))), "tensor 'b' at byte"),
    "an overlap": (
        file_of((), (tensor(b"a", (16,), 0, 0), tensor(b"b", (8,), 0, 32))),
        "tensor 'b' at byte",
    ),
    "one inside another": (
        file_of((), (tensor(b"a", (32,), 0, 0), tensor(b"b", (8,), 0, 32))),
        "tensor 'b' at byte",
    ),
    "a name twice": (file_of((), (A, tensor(b"a", (8,), 0, 32))), "two tensors named 'a'"),
    "a key twice": (file_of((pair(b"k", 4, U32), pair(b"k", 4, U32))), "the key 'k'"),
    "an empty key": (file_of((pair(b"", 4, U32),)), "the key ''"),
    "no dimensions": (file_of((), (tensor(b"a", (), 0, 0),)), "of 0 dimensions"),
    "five dimensions": (file_of((), (tensor(b"a", (1,) * 5, 0, 0),)), "of 5 dimensions"),
    "4 billion dimensions": (
        file_of((), (text(b"a") + struct.pack("<I", 2**32 - 1),)),
        "of 4294967295 dimensions",
    ),
    "an empty dimension": (file_of((), (tensor(b"a", (8, 0), 0, 0),)), r"of shape \[0, 8\]"),
    "an overflowing product": (
        file_of((), (tensor(b"a", (2**32, 2**32, 4), 0, 0),)),
        "of shape",
    ),
    "half a block": (file_of((), (tensor(b"a", (48,), 8, 0),)), "whole blocks of 32"),
    "type 10, which is not read": (file_of((), (tensor(b"a", (256,), 10, 0),)), "of type 10; exp"),
    "type 4, which is gone": (file_of((), (tensor(b"a", (32,), 4, 0),)), "of type 4; exp"),
    "type 2^32 - 1": (file_of((), (tensor(b"a", (8,), 2**32 - 1, 0),)), "of type 4294967295"),
    "a name of 65 bytes": (file_of((), (tensor(b"a" * 65, (8,), 0, 0),)), "a string of 65 bytes"),
    "a value of type 13": (file_of((pair(b"k", 13, U32),)), "'k' of type 13"),
    "an array of arrays": (file_of((array(b"k", 9, 1, array(b"", 4, 1, U32)),)), "array of type 9"),
    "an array of type 77": (file_of((array(b"k", 77, 1, U32),)), "an array of type 77"),
    "2^63 strings": (file_of((array(b"k", 8, 2**63, b""),)), "an array of 9223372036854775808"),
    "2^64 - 1 numbers": (file_of((array(b"k", 12, 2**64 - 1, b""),)), "an array of 184467440737"),
    "more strings than the file": (file_of((array(b"k", 8, 40, b""),)), "an array of 40 elements"),
    "a string of 10 GB": (file_of((pair(b"k", 8, struct.pack("<Q", 10 << 30)),)), "of 10737418240"),
    "a key of 10 GB": (file_of((struct.pack("<Q", 10 << 30),)), "a string of 10737418240"),
    "a string past the end": (file_of((pair(b"k", 8, struct.pack("<Q", 999)),)), "or more, by its"),
    "no UTF-8": (file_of((pair(b"k", 8, text(b"\xff")),)), "a string that is no text"),
    "no UTF-8 in an array": (file_of((array(b"k", 8, 1, text(b"\xff")),)), "that is no text"),
    "half a surrogate pair": (file_of((pair(b"k", 8, text(b"\xed\xa0\x80")),)), "that is no text"),
    "a truth value of 2": (file_of((pair(b"k", 7, b"\2"),)), "a truth value of 2"),
    "truth values of 2": (file_of((array(b"k", 7, 3, b"\0\1\2"),)), "a truth value of 2"),
    "an alignment of text": (file_of((pair(b"general.alignment", 8, text(b"32")),)), "of type 8"),
    "a signed alignment": (file_of((pair(b"general.alignment", 5, U32),)), "of type 5"),
    **{
        f"an alignment of {size}": (
            file_of((pair(b"general.alignment", 4, struct.pack("<I", size)),)),
            f"an alignment of {size};",
        )
        for size in (0, 1, 4, 33, 48, 2**17, 2**31, 2**32 - 1)
    },
}


@pytest.mark.parametrize("name", LIES)
def test_a_lying_file_is_refused(refused: Callable[[bytes, str], None], name: str) -> None:
    refused(*LIES[name])
