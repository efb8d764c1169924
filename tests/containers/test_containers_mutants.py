"""20,000 mutants of small files: a typed error or the whole file, within a second and 32 MB."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

COUNT = 10_000


@pytest.mark.parametrize(("kind", "least_accepted"), [("gguf", 1_000), ("safetensors", 100)])
def test_no_mutant_escapes_hangs_or_takes_memory(kind: str, least_accepted: int) -> None:
    # Tests elsewhere hold a gigabyte of torch: a process of its own measures honestly.
    script = Path(__file__).with_name("mutants.py")
    run = subprocess.run(
        [sys.executable, str(script), kind, "0", str(COUNT)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    summary = json.loads(run.stdout)
    assert summary["count"] == COUNT
    # Neither side is empty: mutants that are read show more than that everything is refused.
    assert least_accepted < summary["accepted"] < COUNT // 2
    assert summary["most_traced_bytes_beyond_file"] < 32 * 2**20
