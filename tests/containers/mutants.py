"""Mutants of small true files, and the judge that reads them: `python mutants.py KIND FIRST COUNT`.

Mutant number n of a kind is a function of n alone. Each has to be refused by a typed error or read
completely, within a second of work and the file's size plus 32 MB of memory; the process that
judges them holds itself to just that much address space. It prints a summary in JSON.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import gguf
import numpy as np
from safetensors import deserialize
from seeds import Field, Seed, gguf_seeds, safetensors_seeds

from noria.containers.gguf import read_gguf, read_gguf_tensor
from noria.containers.safetensors import read_safetensors_header
from noria.errors import InputError
from noria.runtime import peak_memory_bytes, reset_peak_memory

ALLOWED_BYTES = 32 * 2**20
ALLOWED_S = 1.0
TRACED_EVERY = 20  # tracemalloc sees allocations that never become resident, and is slow
COMPARED_EVERY = 10  # the gguf package reads some of the accepted ones too

POWERS = (1, 7, 8, 15, 16, 20, 31, 32, 33, 40, 48, 61, 62, 63, 64)
NUMBERS = tuple(sorted({0, 1, 10 * 2**30, *(2**n + d for n in POWERS for d in (-1, 0, 1))}))
TEXTS = (
    b"",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\0",
    b"a.text",
    b"general.alignment",
    b"x" * 70,
)
TOKENS = (
    *(b"-1", b"-0", b"1.0", b"1e3", b"9" * 5000, b"9223372036854775808", b"18446744073709551616"),
    *(b"null", b"true", b"NaN", b'""', b'"F8"', b'"\\ud800"', b'"\\u0000"', b'"\xff"', b'"a\nb"'),
    *(b"{}", b"[]", b"[" * 500, b'{"a":' * 300, b"[" * 200_000, b'"layer.int8"', b'"__metadata__"'),
    *(b"", b" ", b",", b"}", b"{", b"\\", b'"', b"0", b"1", b"6", b"4611686018427387904"),
)
Change = Callable[[bytes, Seed, random.Random], bytes]


@dataclass
class Summary:
    """What a run of mutants came to."""

    count: int = 0
    accepted: int = 0
    slowest_s: float = 0.0
    most_bytes_beyond_file: int = 0
    most_traced_bytes_beyond_file: int = 0


def mutant(seeds: list[Seed], number: int) -> bytes:
    """Even numbers go round all fields, with another nasty value each time; odd ones are random."""
    if number % 2 == 0:
        all_fields = [(seed, field) for seed in seeds for field in seed.fields]
        turn, place = divmod(number // 2, len(all_fields))
        seed, field = all_fields[place]
        values = nasty_values(seed, field)
        random.Random(place).shuffle(values)
        if turn < len(values):
            return repaired(replaced(seed.data, field, values[turn]), seed, field)
    generator = random.Random(number)
    seed = generator.choice(seeds)
    data = seed.data
    for _ in range(generator.choice((1, 1, 1, 2, 3))):
        data = generator.choice(CHANGES)(data, seed, generator)
    if seed.fields[1].form == "token" and generator.random() < 0.75:
        return with_header_length(data, seed)
    return data


def nasty_values(seed: Seed, field: Field) -> list[bytes]:
    """What a field is replaced by, once each."""
    if field.form == "text":
        return list(TEXTS)
    if field.form == "token":
        return list(TOKENS)
    size = field.end - field.start
    value = int.from_bytes(seed.data[field.start : field.end], "little")
    near = {value + 1, value - 1, value * 2, value ^ 0x80, len(seed.data), -value, value + 32}
    codes = set(range(48)) if size == 4 else set()
    return [
        (number % 2 ** (8 * size)).to_bytes(size, "little")
        for number in sorted({*NUMBERS, *near, *codes})
    ]


def replaced(data: bytes, field: Field, value: bytes) -> bytes:
    return data[: field.start] + value + data[field.end :]


def repaired(data: bytes, seed: Seed, field: Field) -> bytes:
    """A token of JSON moves the header's end: its length is told again."""
    if field.form != "token":
        return data
    header_bytes = seed.data_start - 8 + len(data) - len(seed.data)
    return header_bytes.to_bytes(8, "little") + data[8:]


def with_header_length(data: bytes, seed: Seed) -> bytes:
    """The header's length, such that the tensors' bytes come out as many as they were."""
    tensor_bytes = len(seed.data) - seed.data_start
    return max(0, len(data) - 8 - tensor_bytes).to_bytes(8, "little") + data[8:]


def _somewhere(data: bytes, seed: Seed, generator: random.Random) -> int:
    end = seed.data_start if generator.random() < 0.9 else len(data)
    return generator.randrange(max(1, min(end, len(data))))


def flip_bits(data: bytes, seed: Seed, generator: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(generator.randint(1, 8) if data else 0):
        changed[_somewhere(data, seed, generator)] ^= 1 << generator.randrange(8)
    return bytes(changed)


def change_field(data: bytes, seed: Seed, generator: random.Random) -> bytes:
    field = generator.choice(seed.fields)
    return replaced(data, field, generator.choice(nasty_values(seed, field)))


def copy_field(data: bytes, seed: Seed, generator: random.Random) -> bytes:
    field, other = generator.choice(seed.fields), generator.choice(seed.fields)
    return replaced(data, field, data[other.start : other.end])


def truncate(data: bytes, seed: Seed, generator: random.Random) -> bytes:
    return data[: _somewhere(data, seed, generator)]


def extend(data: bytes, seed: Seed, generator: random.Random) -> bytes:
    return data + bytes(generator.randrange(1, 400))


def splice(data: bytes, seed: Seed, generator: random.Random) -> bytes:
    """Cut a piece out, or put a piece in a second time somewhere else."""
    start = _somewhere(data, seed, generator)
    end = start + generator.choice((1, 4, 8, generator.randrange(1, 200)))
    if generator.random() < 0.5:
        return data[:start] + data[end:]
    place = _somewhere(data, seed, generator)
    return data[:place] + data[start:end] + data[place:]


def cross(data: bytes, seed: Seed, generator: random.Random) -> bytes:
    """The front of one true file and the back of another."""
    other = generator.choice(SEEDS)
    cut = generator.choice(other.fields).start
    return data[: _somewhere(data, seed, generator)] + other.data[cut:]


CHANGES: tuple[Change, ...] = (
    *(flip_bits, flip_bits, change_field, change_field, copy_field),
    *(truncate, extend, splice, splice, cross),
)
SEEDS: list[Seed] = []


def read_gguf_whole(path: Path, size: int, compare: bool) -> None:
    """Read a GGUF file with all its tensors, and check what the header's reader promises."""
    file = read_gguf(path)
    end = 0
    for tensor in sorted(file.tensors.values(), key=lambda tensor: tensor.start):
        assert end <= tensor.start < tensor.end <= size, tensor
        end = tensor.end
        values = read_gguf_tensor(file, tensor.name)
        assert values.shape == tensor.shape and values.dtype == np.float32
    if compare:
        reference = gguf.GGUFReader(path)
        for key, value in file.metadata.items():
            theirs = reference.fields[key].contents()
            assert theirs == value or str(theirs) == str(value), key  # NaN is not itself
        assert [tensor.name for tensor in reference.tensors] == list(file.tensors)


def read_safetensors_whole(path: Path, size: int, compare: bool) -> None:
    """Read a header; what it promises has to be what the reference reader finds in the file."""
    entries = read_safetensors_header(path)
    assert all(0 < entry.start <= entry.end <= size for entry in entries.values())
    theirs = {name: tensor["shape"] for name, tensor in deserialize(path.read_bytes())}
    assert theirs == {name: list(entry.shape) for name, entry in entries.items()}


READERS = {
    "gguf": (gguf_seeds, read_gguf_whole),
    "safetensors": (safetensors_seeds, read_safetensors_whole),
}


def judge(kind: str, first: int, count: int, path: Path) -> Summary:
    """Read `count` mutants; AssertionError names the first that breaks a promise."""
    make_seeds, read = READERS[kind]
    SEEDS[:] = make_seeds()
    summary = Summary()
    tracemalloc.start(), tracemalloc.stop()
    limit_memory(max(len(seed.data) for seed in SEEDS) * 2)
    for number in range(first, first + count):
        data = mutant(SEEDS, number)
        path.write_bytes(data)
        is_traced = number % TRACED_EVERY == 0
        if is_traced:
            tracemalloc.start()
        reset_peak_memory()
        before_bytes, start_s = peak_memory_bytes(), time.process_time()
        try:
            read(path, len(data), summary.accepted % COMPARED_EVERY == 0)
            summary.accepted += 1
        except InputError:
            pass
        except BaseException as error:
            raise AssertionError(f"{kind} mutant {number}: {error!r}") from error
        # Time of the processor: a machine that is busy elsewhere is no fault of the reader.
        elapsed_s = time.process_time() - start_s
        beyond_bytes = peak_memory_bytes() - before_bytes - len(data)
        if is_traced:
            traced_bytes = tracemalloc.get_traced_memory()[1] - len(data)
            tracemalloc.stop()
            most = max(summary.most_traced_bytes_beyond_file, traced_bytes)
            summary.most_traced_bytes_beyond_file = most
        summary.count += 1
        summary.slowest_s = max(summary.slowest_s, elapsed_s)
        summary.most_bytes_beyond_file = max(summary.most_bytes_beyond_file, beyond_bytes)
        assert elapsed_s < ALLOWED_S, f"{kind} mutant {number} took {elapsed_s:.2f} s"
        assert beyond_bytes < ALLOWED_BYTES, f"{kind} mutant {number} took {beyond_bytes} bytes"
    return summary


def limit_memory(largest_file_bytes: int) -> None:
    """Hold this process to the address space that it has, plus what a reader may use."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    allowed = pages * resource.getpagesize() + largest_file_bytes + ALLOWED_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))


def main(kind: str, first: str, count: str) -> None:
    """Judge mutants, and print the summary."""
    with tempfile.TemporaryDirectory() as folder:
        summary = judge(kind, int(first), int(count), Path(folder) / "mutant")
    print(json.dumps(asdict(summary)))


if __name__ == "__main__":
    main(*sys.argv[1:])
