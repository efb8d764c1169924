"""`kill -9` at random moments of a run: it goes on, and ends with the same weights."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from warm import WarmRunner

from noria.recipe import TENANT
from noria.registry import Registry

NUM_KILLS = 10


@pytest.fixture(scope="module")
def runner() -> Iterator[WarmRunner]:
    warm = WarmRunner("warm_noria.py")
    yield warm
    warm.close()


def live_hash(store: Path) -> str:
    registry = Registry(store / "registry.sqlite")
    live = registry.live(TENANT, "tiny")
    registry.verify_chain()
    registry.close()
    assert live is not None
    return live.weight_hash


def test_a_run_killed_at_ten_random_moments_ends_with_the_same_weights(
    runner: WarmRunner,
    tmp_path: Path,
    tiny_recipe,  # type: ignore[no-untyped-def]
) -> None:
    recipe = tiny_recipe(tmp_path, tokens=40_000, steps=12, requests=6)
    words = ["run", str(recipe), "--store"]
    started_at = time.monotonic()
    code = runner.run([*words, str(tmp_path / "whole")])
    whole_s = time.monotonic() - started_at
    assert code in (0, 3)
    expected = live_hash(tmp_path / "whole")
    moments = random.Random(20261122)
    kills, store = 0, tmp_path / "killed"
    while kills < NUM_KILLS:
        ended = runner.run([*words, str(store)], moments.uniform(0.02, 0.4) * whole_s)
        if ended == -signal.SIGKILL:
            kills += 1
            continue
        assert ended == code
        assert live_hash(store) == expected
        shutil.rmtree(store)
    assert runner.run([*words, str(store)]) == code
    assert live_hash(store) == expected
    assert list((store / "checkpoints").iterdir()) == []
    assert list((store / "artifacts").glob(".*")) == []
