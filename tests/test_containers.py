"""A safetensors file that lies about itself is refused before anything is allocated."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from noria.containers import read_safetensors_header
from noria.errors import FormatError, InputError, NoriaError


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


def test_no_mutant_escapes_as_another_exception(good: Path) -> None:
    data = good.read_bytes()
    generator = random.Random(4)
    refused = 0
    for _ in range(2000):
        mutant = bytearray(data)
        for _ in range(generator.randint(1, 4)):
            mutant[generator.randrange(len(mutant) - 53)] = generator.randrange(256)
        good.write_bytes(mutant)
        try:
            read_safetensors_header(good)
        except NoriaError:
            refused += 1
    assert refused > 1000
