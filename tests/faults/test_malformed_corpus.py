"""Malformed input never stops reading, never vanishes, and never costs more memory than stated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from corpus_files import CHAT, CHINESE, ENGLISH
from malformed import check_mutants

COUNT = 2000

_READ_AND_MEASURE = """
import resource, sys
from pathlib import Path
from noria.artifacts import file_digest
from noria.corpus.read import Quarantined, SourceFile, Wanted, read_file
path = Path(sys.argv[1])
file = SourceFile(path.name, path, file_digest(path))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = list(read_file(file, Wanted(), lambda shape, how: None))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
lost = [one for one in found if isinstance(one, Quarantined)]
print(len(found) - len(lost), len(lost), lost[0].line, (after - before) >> 10)
"""


def test_two_thousand_malformed_files_are_read_or_counted(tmp_path: Path) -> None:
    totals = check_mutants(tmp_path, COUNT, seed=6)
    assert totals["mutants"] >= 0.99 * COUNT
    assert totals["records"] > COUNT / 2
    assert totals["lost"] > COUNT / 2


def test_a_line_of_a_gigabyte_is_counted_in_bounded_memory(tmp_path: Path) -> None:
    gigabyte = 1 << 30
    for name, good, size in (
        ("a.jsonl", CHAT, gigabyte),
        ("a.txt", ENGLISH * 4, gigabyte // 8),
        ("a.csv", f"text\n{CHINESE * 4}", gigabyte // 8),
    ):
        path = tmp_path / name
        before = f"{good}\n" * 1000
        with path.open("wb") as file:
            file.write(before.encode())
            file.truncate(len(before.encode()) + size)  # a hole: it costs no disk
            file.seek(0, 2)
            file.write(f"\n{good}\n".encode())
        done = subprocess.run(
            [sys.executable, "-c", _READ_AND_MEASURE, str(path)],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        path.unlink()
        num_records, num_lost, line, megabytes = map(int, done.stdout.split())
        assert num_records > 10
        assert num_lost == 1
        assert line == before.count("\n") + 1
        assert megabytes < 120, name
