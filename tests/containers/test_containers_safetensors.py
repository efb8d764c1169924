"""A safetensors file that lies about itself is refused before anything is allocated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from noria.containers.safetensors import read_safetensors_header
from noria.errors import FormatError, InputError


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "m.safetensors"
    save_file({"a": torch.ones(3, 4), "b": torch.ones(5, dtype=torch.int8)}, path)
    return path


def rewrite(path: Path, change) -> None:  # type: ignore[no-untyped-def]
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    change(header)
    raw = json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data[8 + length :])


def test_the_header_agrees_with_the_file(good: Path) -> None:
    entries = read_safetensors_header(good)
    assert entries["a"].shape == (3, 4)
    assert {name: entry.dtype for name, entry in entries.items()} == {"a": "F32", "b": "I8"}
    assert max(entry.end for entry in entries.values()) == good.stat().st_size


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h["a"].update(shape=[3, 5]),
        lambda h: h["a"].update(shape=[-3, -4]),
        lambda h: h["a"].update(shape=[2**62, 2**62]),
        lambda h: h["a"].update(shape=[2**62, 2**62, 0], data_offsets=[0, 0]),
        lambda h: h["a"].update(shape=[2**63, 0], data_offsets=[0, 0]),
        lambda h: h["a"].update(shape=[12, 1, 1, 1, 1, 1, 1, 1, 1]),
        lambda h: h["a"].update(shape=[3.0, 4]),
        lambda h: h["a"].update(shape=[True, 12]),
        lambda h: h["a"].update(shape=[[3], 4]),
        lambda h: h["a"].update(shape={"0": 12}),
        lambda h: h["a"].update(dtype=["F32"]),
        lambda h: h["a"].update(extra=1),
        lambda h: h["a"].update(data_offsets=[48, 0]),
        lambda h: h["a"].update(data_offsets=[0, 48, 48]),
        lambda h: h["a"].update(data_offsets=[-48, 0]),
        lambda h: h["b"].update(data_offsets=[40, 45]),
        lambda h: h.update({"\ud800": h.pop("b")}),
        lambda h: h.update({"n" * 300: h.pop("b")}),
        lambda h: h.update(__metadata__={"format": 3}),
        lambda h: h.update(__metadata__=["pt"]),
        lambda h: h["a"].update(dtype="F8"),
        lambda h: h["a"].update(data_offsets=[0, 48_000_000_000]),
        lambda h: h["b"].update(data_offsets=[0, 5]),
        lambda h: h["a"].update(data_offsets="0,48"),
        lambda h: h.update(a=3),
        lambda h: h.pop("b"),
    ],
)
def test_a_lying_header_is_refused(good: Path, change) -> None:  # type: ignore[no-untyped-def]
    rewrite(good, change)
    with pytest.raises(FormatError, match="fetch or export the file again"):
        read_safetensors_header(good)


def test_a_header_longer_than_the_file_is_refused_unread(good: Path) -> None:
    good.write_bytes((10 * 2**30).to_bytes(8, "little") + good.read_bytes()[8:])
    with pytest.raises(FormatError, match="a header of 10737418240 bytes"):
        read_safetensors_header(good)


def test_missing_and_short_files_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_safetensors_header(tmp_path / "no.safetensors")
    (tmp_path / "s").write_bytes(b"abc")
    with pytest.raises(FormatError):
        read_safetensors_header(tmp_path / "s")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"b":', b'"a":'),  # a name twice
        (b'"shape":[5]', b'"shape":[5],"shape":[5]'),
        (b'"shape":[3,4]', b'"shape":[3,4,-0]'),
        (b'"shape":[3,4]', b'"shape":[3,NaN]'),
        (b'"shape":[3,4]', b'"shape":[3,4e0]'),
        (b'"shape":[3,4]', b'"shape":[3,04]'),
        (b'"dtype":"F32"', b'"dtype":"F32",'),
        (b'"b":', b'"\xff":'),
        (b'"b":', b'"\n":'),
        (b'"b":', b"b:"),
        (b'{"', b'["'),
        (b'"b":', b'"b"'),
        (b'"b":', b'"__metadata__":{"k":"v","k":"v"},"b":'),
        (b'"b":', b'"__metadata__":{"k":"\\ud800"},"b":'),
        (b'"b":', b'"__metadata__":{"k":"v"},"__metadata__":{},"b":'),
    ],
)
def test_a_header_that_is_no_strict_json_of_tensors_is_refused(
    good: Path, old: bytes, new: bytes
) -> None:
    data = good.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = data[8:end].rstrip()
    assert old in header
    raw = header.replace(old, new, 1)
    good.write_bytes(len(raw).to_bytes(8, "little") + raw + data[end:])
    with pytest.raises(FormatError, match="fetch or export the file again"):
        read_safetensors_header(good)


def test_metadata_white_space_and_empty_tensors_are_read(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    tensors = {"a": torch.ones(3, 4), "none": torch.ones(0, 7), "one": torch.tensor(1.0)}
    save_file(tensors, path, metadata={"format": "pt", "words": '}{"\\" 水'})
    entries = read_safetensors_header(path)
    assert {name: entry.shape for name, entry in entries.items()} == {
        name: tuple(tensor.shape) for name, tensor in tensors.items()
    }
    rewrite(path, lambda header: None)  # written again with white space between everything
    assert read_safetensors_header(path).keys() == tensors.keys()


def test_bytes_behind_the_last_tensor_are_refused(good: Path) -> None:
    good.write_bytes(good.read_bytes() + b"x")
    with pytest.raises(FormatError, match="the end of the last tensor"):
        read_safetensors_header(good)
