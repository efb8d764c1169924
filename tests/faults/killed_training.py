"""Training that is killed again and again, and what it has to end with."""

from __future__ import annotations

import hashlib
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random

from warm import WarmRunner

LINES_OF_A_RUN = 1500  # about so many lines of checkpoint code run in twelve steps


def outcome(folder: Path) -> str:
    """Digest of weights, optimizer, running mean and loss log of a training that ended."""
    newest = sorted((folder / "ckpt").glob("step-*"))[-1]
    digest = hashlib.sha256(newest.name.encode())
    for file in sorted(newest.iterdir()):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def kill_training(
    runner: WarmRunner, folder: Path, case: str, num_kills: int, random: Random
) -> None:
    """Kill a training that often, half at random moments, half inside of checkpoints; then end it.

    It has to end with every bit of the uninterrupted one, each time that it comes to its end.
    """
    asked = {"folder": str(folder / "whole"), "case": case}
    whole_s = _end(runner, asked)
    expected, kills = outcome(folder / "whole"), 0
    asked["folder"] = str(folder / "killed")
    while kills < num_kills:
        fresh, started_at = not (folder / "killed").exists(), time.monotonic()
        if kills % 2:
            ended = runner.run(asked, random.uniform(0.05, 0.7) * whole_s)
        else:
            ended = runner.run({**asked, "kill_line": random.randint(1, LINES_OF_A_RUN // 2)})
        if ended == -signal.SIGKILL:
            kills += 1
            continue
        assert ended == 0
        assert outcome(folder / "killed") == expected
        shutil.rmtree(folder / "killed")
        if fresh:  # the first one of all had caches to fill
            whole_s = min(whole_s, time.monotonic() - started_at)
    _end(runner, asked)
    assert outcome(folder / "killed") == expected
    shutil.rmtree(folder)


def _end(runner: WarmRunner, asked: Mapping[str, str]) -> float:
    """Let a training come to its end; seconds that it took."""
    started_at = time.monotonic()
    assert runner.run(asked) == 0
    return time.monotonic() - started_at
