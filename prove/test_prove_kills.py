"""A thousand `kill -9` of trainings, half of them inside of checkpoints: `make prove`.

What is killed and what it has to end with: tests/faults/killed_training.py. A tenth are the shipped
settings, bfloat16 and compiled blocks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "faults"))

from killed_training import kill_training
from warm import WarmRunner

NUM_KILLS = {"whole": 300, "average": 300, "adapter": 300, "shipped": 100}


@pytest.fixture(scope="module")
def trainer() -> Iterator[WarmRunner]:
    warm = WarmRunner("warm_trainer.py")
    yield warm
    warm.close()


@pytest.mark.parametrize("case", NUM_KILLS)
def test_a_thousand_kills_cost_no_bit(trainer: WarmRunner, tmp_path: Path, case: str) -> None:
    kill_training(trainer, tmp_path / case, case, NUM_KILLS[case], Random(f"{case} a thousand"))
