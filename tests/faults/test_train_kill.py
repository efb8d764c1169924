"""`kill -9` at random moments and inside of checkpoints; torn files; a full disk."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from killed_training import kill_training, outcome
from warm import SMALL_MODEL, WarmRunner

SMALL_DISK = Path(__file__).with_name("small_disk.py")


@pytest.fixture(scope="module")
def trainer() -> Iterator[WarmRunner]:
    warm = WarmRunner("warm_trainer.py")
    yield warm
    warm.close()


@pytest.mark.parametrize(
    ("case", "num_kills"), [("whole", 6), ("average", 6), ("adapter", 6), ("shipped", 2)]
)
def test_a_killed_training_ends_with_the_same_bits(
    trainer: WarmRunner, tmp_path: Path, case: str, num_kills: int
) -> None:
    kill_training(trainer, tmp_path / case, case, num_kills, Random(f"{case} 20261122"))


def test_a_kill_inside_the_very_first_checkpoint_costs_nothing_but_time(
    trainer: WarmRunner, tmp_path: Path
) -> None:
    asked = {"folder": str(tmp_path / "whole"), "case": "whole"}
    assert trainer.run(asked) == 0
    asked["folder"] = str(tmp_path / "killed")
    for line in range(1, 60, 6):
        assert trainer.run({**asked, "kill_line": line}) == -9
    assert trainer.run(asked) == 0
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")


def test_a_full_disk_is_a_clear_error_and_the_checkpoint_before_it_is_used() -> None:
    command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, str(SMALL_DISK)]
    environment = {**os.environ, "PYTHONPATH": str(SMALL_MODEL)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    if "unshare" in done.stderr and done.returncode != 0:
        pytest.skip(f"this machine lends nobody a disk of his own: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert "no space left on the disk while writing" in said[0]
    assert "what was there is intact" in said[0]
    assert said[1:] == ["step 3 of 12 is whole", "went on with step 4", "the same weights"]
