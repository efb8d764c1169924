"""Malformed files, made from good ones by a seeded generator: for the tests and for `prove/`."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from pathlib import Path

from corpus_files import FILES
from reading import file_of, read

from noria.corpus.read.lines import find_encoding, text_lines
from noria.errors import InputError
from noria.records import record_to_json

SPLICES = (
    *(
        b"\x00",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\\ud800",
        b"\r",
        b"\n\n",
        b'"',
        b"'",
    ),
    *(
        b"NaN",
        b"1e99999",
        b"9" * 5000,
        b"[" * 3000,
        b'{"a":' * 3000,
        b"<div>" * 3000,
        b"&a;",
        b"<!",
    ),
    *(b"\x1b$B", "水".encode("gb18030"), "水".encode("utf-16"), b"../../", b"%s%n", b"\x80" * 99),
)


def mutate(rng: random.Random, data: bytes) -> bytes:
    """One to four faults: bits, cuts, copies, splices, wrong encodings, pieces of other files."""
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(data) + 1)
        length = rng.choice((1, 2, 8, 64, 1024))
        match rng.randrange(8):
            case 0:
                flipped = bytes(
                    byte ^ 1 << rng.randrange(8) for byte in data[place : place + length]
                )
                data = data[:place] + flipped + data[place + length :]
            case 1:
                data = data[:place]
            case 2:
                data = data[:place] + data[place + length :]
            case 3:
                data = data[:place] + data[place : place + length] * 40 + data[place:]
            case 4:
                data = data[:place] + rng.choice(SPLICES) + data[place:]
            case 5:
                data = data[:place] + rng.randbytes(length) + data[place + length :]
            case 6:
                other = FILES[rng.choice(sorted(FILES))]
                data = data[:place] + other[: rng.randrange(len(other))] + data[place:]
            case _:
                encoding = rng.choice(("utf-16", "gb18030", "big5", "latin-1", "utf-32"))
                data = data.decode("utf-8", "replace").encode(encoding, "replace")
    return data


def check_mutants(folder: Path, count: int, seed: int) -> dict[str, int]:
    """Read `count` malformed files; returns how many records and losses there were.

    Asserts that nothing is raised, that all that is found can be written down, that a file without
    records is counted as lost, and that no line of a JSON Lines file vanishes.
    """
    rng = random.Random(seed)
    names = sorted(FILES)
    totals = {"mutants": 0, "records": 0, "lost": 0}
    for number in range(count):
        name = names[number % len(names)]
        file = file_of(folder, name, mutate(rng, FILES[name]))
        records, lost = read(file)
        where = f"mutant {number} of {name}, seed {seed}"
        for record in records:
            json.dumps(record_to_json(record), ensure_ascii=False).encode("utf-8")
        for one in lost:
            json.dumps(asdict(one), ensure_ascii=False).encode("utf-8")
            assert one.reason and len(one.value) <= 200, where
        assert records or lost, where
        if name == "a.jsonl" and not any(one.line == 0 for one in lost):
            try:
                encoding = find_encoding(file)
            except InputError:
                continue
            lines = sum(1 for _ in text_lines(file, encoding))
            assert len({one.source.line for one in records}) + len(lost) == lines, where
        totals["mutants"] += 1
        totals["records"] += len(records)
        totals["lost"] += len(lost)
    return totals
