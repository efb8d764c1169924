"""How long a command takes and how much memory it holds: `measure_run.py make run`.

Counts every process that the command starts, servers in the background too, for as long as the
command runs: resident memory of all of them together, looked at every half second. Pages that
several processes share are counted for each, so the sum is at most too high.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

LOOK_EVERY_S = 0.5
MARK = "NORIA_MEASURED_RUN"


def resident_bytes(mark: bytes) -> dict[str, int]:
    """Resident memory of the processes that have the mark in their environment, by their words."""
    found: dict[str, int] = defaultdict(int)
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and mark in (process / "environ").read_bytes():
                words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                pages = int((process / "statm").read_text().split()[1])
                found[f"{process.name} {words}"] += pages * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):  # it has ended meanwhile
            continue
    return found


def main() -> int:
    """Run the command and say what it held."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    value = secrets.token_hex(16)
    most, at_most = 0, {}
    largest: dict[str, int] = {}
    started_at = time.monotonic()
    with subprocess.Popen(sys.argv[1:], env={**os.environ, MARK: value}) as running:
        while running.poll() is None:
            found = resident_bytes(f"{MARK}={value}".encode())
            if sum(found.values()) > most:
                most, at_most = sum(found.values()), found
            for words, size in found.items():
                largest[words] = max(size, largest.get(words, 0))
            time.sleep(LOOK_EVERY_S)
    took_s = time.monotonic() - started_at
    print(f"{took_s // 60:.0f} min {took_s % 60:.0f} s, exit status {running.returncode}")
    print(f"most memory of all processes together: {most / 1e9:.2f} GB")
    for title, sizes in (("then", at_most), ("each at its own largest", largest)):
        print(f"{title}:")
        for words in sorted(sizes, key=sizes.__getitem__, reverse=True)[:6]:
            print(f"  {sizes[words] / 1e9:5.2f} GB  {words[:100]}")
    return running.returncode


if __name__ == "__main__":
    sys.exit(main())
