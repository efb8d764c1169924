"""The registry under 16 clients and 20,000 operations, and through 10,000 kills: `make prove`.

What a client does and what it has to leave: tests/faults/registry_clients.py.
"""

from __future__ import annotations

import random
import signal
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "faults"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "serve"))

from registry_clients import (
    FAILPOINTS,
    NEVER,
    check_state,
    clients,
    make_registry,
    read_log,
)
from serving_world import NAME, TENANT, World, shared_worker
from test_registry_kill import killed_clients

from noria.serve.live import LiveModels

NUM_CLIENTS = 16
NUM_OPERATIONS = 20_000
NUM_KILLS = 10_000
KILLS_IN_ONE_FILE = 500


def test_20_000_operations_of_16_killed_clients_are_linearizable_and_rollbacks_are_fast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    began_at = time.monotonic()
    done = killed_clients(tmp_path, NUM_CLIENTS, NUM_OPERATIONS, 200, "prove")
    elapsed_s = time.monotonic() - began_at
    took = sorted(
        (one.ended - one.began) / 1e9
        for one in done
        if one.kind == "rollback" and one.ended != NEVER
    )
    p50, p99 = took[len(took) // 2], took[int(0.99 * len(took))]
    with capsys.disabled():
        print(
            f"\n{len(done)} operations of {NUM_CLIENTS} clients in {elapsed_s:.0f} s; "
            f"{len(took)} rollbacks: median {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms, "
            f"slowest {took[-1] * 1000:.0f} ms"
        )
    assert len(done) >= NUM_OPERATIONS
    assert p99 < 1.0
    check_state(tmp_path / "registry.sqlite", done)


def test_10_000_kills_leave_one_live_version_and_lose_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw, kills = random.Random("ten thousand"), 0
    points = list(FAILPOINTS)
    with clients() as start:
        while kills < NUM_KILLS:
            folder = tmp_path / str(kills)
            path, done = make_registry(folder), []
            for _ in range(KILLS_IN_ONE_FILE):
                log = folder / f"{kills}.log"
                failpoint = draw.choice([*points, *[""] * len(points)])
                process = start(path, log, f"kill {kills}", 1_000, failpoint)
                if not failpoint:
                    while not log.exists():
                        time.sleep(0.001)
                    time.sleep(draw.uniform(0.0, 0.05))
                    process.kill()
                process.join()
                assert process.exitcode == -signal.SIGKILL
                done += read_log(log)
                kills += 1
            check_state(path, done)
            with capsys.disabled():
                sys.stdout.write(f"\r{kills:,} of {NUM_KILLS:,} kills ")
                sys.stdout.flush()


def test_servers_follow_a_hundred_moves_within_a_second_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(tmp_path)
    weights = [world.promote("a"), world.promote("b")]
    worker = shared_worker()
    worker.wait()
    models = LiveModels(  # polls as shipped
        world.registry, NAME, tmp_path, worker.load_language_model
    )
    models.start()
    took = []
    try:
        for number in range(100):
            wanted = weights[number % 2]
            began_at = time.monotonic()
            world.registry.promote(TENANT, NAME, wanted, "prove", "test")
            while (live := models.get(TENANT)) is None or live.version.weight_hash != wanted:
                assert time.monotonic() - began_at < 1.0
                time.sleep(0.002)
            took.append(time.monotonic() - began_at)
    finally:
        models.stop()
        world.close()
    took.sort()
    with capsys.disabled():
        print(f"\na server follows after {took[50]:.3f} s (median), {took[-1]:.3f} s (slowest)")
