"""A million mutants of GGUF and safetensors files, over all cores: `make prove`.

The tests judge the first 10,000 of each kind; here are 500,000 of each. What a mutant is and what
is asked of it: tests/containers/mutants.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "tests" / "containers" / "mutants.py"
COUNT = 1_000_000
CHUNK = 10_000
KINDS = ("gguf", "safetensors")


def judged(kind: str, first: int) -> dict[str, Any]:
    """The summary of one chunk of mutants, judged in a process of its own."""
    run = subprocess.run(
        [sys.executable, str(SCRIPT), kind, str(first), str(CHUNK)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    summary: dict[str, Any] = json.loads(run.stdout)
    return summary


def test_no_mutant_of_a_million_escapes_hangs_or_takes_memory(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each is refused by a typed error or read whole, within a second and 32 MB."""
    chunks = [(kind, first) for first in range(0, COUNT // 2, CHUNK) for kind in KINDS]
    judged_count, accepted_count, slowest_s, most_bytes = 0, 0, 0.0, 0
    start_s = time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = [pool.submit(judged, *chunk) for chunk in chunks]
        try:
            for done in as_completed(running):
                summary = done.result()
                judged_count += summary["count"]
                accepted_count += summary["accepted"]
                slowest_s = max(slowest_s, summary["slowest_s"])
                most_bytes = max(most_bytes, summary["most_bytes_beyond_file"])
                with capsys.disabled():
                    sys.stdout.write(
                        f"\r{judged_count:,} of {COUNT:,} mutants, {accepted_count:,} read, "
                        f"slowest {slowest_s * 1000:.1f} ms, most {most_bytes / 1e6:.1f} MB beyond "
                        f"its file, {time.monotonic() - start_s:.0f} s "
                    )
                    sys.stdout.flush()
        finally:
            pool.shutdown(cancel_futures=True)
    assert judged_count == COUNT
    assert accepted_count > COUNT // 100
