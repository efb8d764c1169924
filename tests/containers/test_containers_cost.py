"""The largest and nastiest headers cost less than a second and the file's size plus 32 MB."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

MB = 2**20
READ = ""  # what a file that is read says of itself; the others name a part of their refusal


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def array(key: bytes, element: int, count: int, values: bytes) -> bytes:
    return text(key) + struct.pack("<IIQ", 9, element, count) + values


def gguf_header(num_pairs: int, body: bytes, num_tensors: int = 0) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, num_tensors, num_pairs) + body


def huge_vocabulary() -> bytes:
    """262,144 tokens with types and scores, 514,906 merges: as large as any model's today."""
    tokens = b"".join(text(b"%x \xe6\xb0\xb4" % (number * 7919)) for number in range(262_144))
    merges = b"".join(text(b"%x %x" % (number * 31, number)) for number in range(514_906))
    parts = (
        array(b"tokens", 8, 262_144, tokens),
        array(b"types", 5, 262_144, struct.pack("<I", 1) * 262_144),
        array(b"scores", 6, 262_144, struct.pack("<f", -0.5) * 262_144),
        array(b"merges", 8, 514_906, merges),
    )
    return gguf_header(4, b"".join(parts))


def megabyte_strings() -> bytes:
    """One letter beyond the first planes of Unicode makes every letter take 4 bytes."""
    long = text(b"a" * (MB - 100) + "😀".encode())
    return gguf_header(1, array(b"k", 8, 50, long * 50))


def many_tensors() -> bytes:
    sizes = struct.pack("<I4QI", 4, 1000, 1, 1, 1, 0)
    entries = (text(b"t%d" % n) + sizes + struct.pack("<Q", n * 4000) for n in range(2**14))
    return gguf_header(0, b"".join(entries), 2**14)


def many_pairs() -> bytes:
    pairs = (array(b"key %d" % number, 8, 0, b"") for number in range(10_000))
    return gguf_header(10_000, b"".join(pairs))


def entry(number: int, name: bytes = b"") -> bytes:
    range_ = b"%d,%d" % (number, number + 1)
    return b'"%d%s":{"dtype":"U8","shape":[1],"data_offsets":[%s]}' % (number, name, range_)


def members(parts: list[bytes]) -> bytes:
    return b"{" + b",".join(parts) + b"}"


def long_metadata(value: bytes) -> bytes:
    parts = [b'"%d":"%s"' % (number, value) for number in range(28)]
    return b'{"__metadata__":' + members(parts) + b"}"


Make = Callable[[], bytes]
GGUF: dict[str, tuple[Make, int, str]] = {  # header, bytes of tensors behind it, refusal
    "huge vocabulary": (huge_vocabulary, 250 * MB, READ),
    "huge vocabulary without weights": (huge_vocabulary, 0, "more memory than the file is worth"),
    "98 MB of empty strings": (
        lambda: gguf_header(1, array(b"k", 8, 98 * MB // 8, bytes(98 * MB))),
        0,
        "an array of 12845056 elements",
    ),
    "a million short strings": (
        lambda: gguf_header(1, array(b"k", 8, 10**6, text(b"ab") * 10**6)),
        0,
        "more memory than the file is worth",
    ),
    "1.4 million short strings": (
        lambda: gguf_header(1, array(b"k", 8, 1_400_000, text(b"ab") * 1_400_000)),
        250 * MB,
        READ,
    ),
    "strings in a header of 150 MB": (
        lambda: gguf_header(1, array(b"k", 8, 150, text(b"a" * (MB - 8)) * 150)),
        0,
        "a header that goes on",
    ),
    "50 strings of a megabyte": (megabyte_strings, 0, "more memory than the file is worth"),
    "a million large numbers": (
        lambda: gguf_header(1, array(b"k", 11, 10**6, b"\7" * (8 * 10**6))),
        0,
        "more memory than the file is worth",
    ),
    "1.4 million truth values": (
        lambda: gguf_header(1, array(b"k", 7, 1_400_000, b"\1" * 1_400_000)),
        0,
        READ,
    ),
    "16,384 tensors": (many_tensors, 2**14 * 4000 + 64, READ),
    "10,000 pairs": (many_pairs, 0, READ),
}
SAFETENSORS: dict[str, tuple[Make, int, str]] = {
    "nested arrays": (lambda: b'{"a":' + b"[" * (30 * MB), 0, "no entry of 1024 bytes"),
    "nested objects": (lambda: b'{"a":' * (6 * MB), 0, "no entry of 1024 bytes"),
    "empty arrays": (lambda: b'{"a":[' + b"[]," * (10 * MB), 0, "no entry of 1024 bytes"),
    "a huge number": (
        lambda: b'{"a":{"dtype":"U8","shape":[' + b"9" * (30 * MB) + b"]}}",
        0,
        "no entry of 1024 bytes",
    ),
    "many large numbers": (
        lambda: members([b'"%d":{"a":%s}' % (n, b"9" * 900) for n in range(30_000)]),
        0,
        "the number 9999",
    ),
    "a name of 30 MB": (lambda: b'{"' + b"a" * (30 * MB) + b'":', 0, "no string of 258 bytes"),
    "escapes without end": (lambda: b'{"' + b'\\"' * (15 * MB), 0, "no string of 258 bytes"),
    "white space": (lambda: b"{" + b" " * (30 * MB) + b"}", 0, READ),
    "long metadata": (lambda: long_metadata(b"a" * (MB - 4) + "😀".encode()), 0, READ),
    "long escaped metadata": (lambda: long_metadata(b"\\n" * (MB // 2)), 0, READ),
    "too long metadata": (
        lambda: long_metadata(b"a" * (MB + 1)),
        0,
        "no string of 1048578 bytes",
    ),
    "too many metadata": (
        lambda: b'{"__metadata__":' + members([b'"%d":""' % n for n in range(10**6)]) + b"}",
        0,
        "more than 10000 names",
    ),
    "16,384 tensors": (lambda: members([entry(n) for n in range(2**14)]), 2**14, READ),
    "16,384 long names": (
        lambda: members([entry(n, b"a" * 240 + "😀".encode()) for n in range(2**14)]),
        2**14,
        READ,
    ),
    "a hundred thousand tensors": (
        lambda: members([entry(n) for n in range(10**5)]),
        10**5,
        "more than 16385 names",
    ),
    "a header of 40 MB": (lambda: b"{" + b" " * (40 * MB), 0, "a header of 41943041 bytes"),
}
CASES = [
    *(("gguf", name, *case) for name, case in GGUF.items()),
    *(("safetensors", name, *case) for name, case in SAFETENSORS.items()),
]


@pytest.mark.parametrize(
    ("kind", "make", "data_bytes", "refusal"),
    [(kind, *case) for kind, _, *case in CASES],
    ids=[f"{kind}: {name}" for kind, name, *_ in CASES],
)
def test_a_header_costs_a_second_and_32_megabytes_at_most(
    tmp_path: Path, kind: str, make: Make, data_bytes: int, refusal: str
) -> None:
    header = make()
    path = tmp_path / "file"
    prefix = struct.pack("<Q", len(header)) if kind == "safetensors" else b""
    path.write_bytes(prefix + header)
    os.truncate(path, len(prefix) + len(header) + data_bytes)  # zeros that take no disk
    script = Path(__file__).with_name("cost.py")
    run = subprocess.run(
        [sys.executable, str(script), kind, str(path)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    cost = json.loads(run.stdout)
    file_bytes = path.stat().st_size
    path.unlink()
    assert refusal in cost["refusal"] and bool(refusal) == bool(cost["refusal"]), cost
    # Time of the processor: a machine that is busy elsewhere is no fault of the reader.
    assert cost["elapsed_s"] < 1.0
    assert cost["risen_bytes"] < file_bytes + 32 * MB
