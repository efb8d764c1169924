"""`kill -9` at random moments of a run: it goes on, and ends with the same weights."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from noria.recipe import TENANT
from noria.registry import Registry

NUM_KILLS = 10


class WarmRunner:
    """Runs `noria` in forks of a process that has loaded everything already."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("warm_runner.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, words: list[str], kill_after_s: float | None = None) -> int:
        """Returns the exit code; -9 if it was killed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        child = int(self._process.stdout.readline())
        timer = None
        if kill_after_s is not None:
            timer = threading.Timer(kill_after_s, self._kill, [child])
            timer.start()
        code = int(self._process.stdout.readline())
        if timer is not None:
            timer.cancel()
            timer.join()
        return code

    @staticmethod
    def _kill(child: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def runner() -> Iterator[WarmRunner]:
    warm = WarmRunner()
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
