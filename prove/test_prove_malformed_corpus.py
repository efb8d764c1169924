"""Ten thousand malformed files of every format, with seeds of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from malformed import check_mutants


@pytest.mark.parametrize("seed", range(100, 105))
def test_malformed_files_are_read_or_counted(tmp_path: Path, seed: int) -> None:
    assert check_mutants(tmp_path, 2000, seed)["mutants"] >= 1980
