"""Many processes write one registry and are killed: one order of all they did, one live version."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest
from registry_clients import (
    FAILPOINTS,
    Operation,
    check_history,
    check_state,
    clients,
    make_registry,
    read_log,
)

from noria.registry import Registry

NUM_CLIENTS = 6
NUM_OPERATIONS = 40
NUM_RANDOM_KILLS = 40


def killed_clients(
    folder: Path, num_clients: int, num_operations: int, num_kills: int, seed: str
) -> list[Operation]:
    """So many operations of so many clients at once, some of which are killed and begun anew."""
    path, draw = make_registry(folder), random.Random(seed)
    logs = [folder / f"{number}.log" for number in range(num_clients)]
    with clients() as start:
        running = [
            start(path, log, f"{seed} {log.stem}", num_operations // num_clients) for log in logs
        ]
        for kill in range(num_kills):
            time.sleep(draw.uniform(0.01, 0.15))
            number = draw.randrange(num_clients)
            running[number].kill()
            running[number].join()
            log = folder / f"{number}.{kill}.log"
            logs.append(log)
            left = max(1, num_operations // num_clients - len(read_log(log)))
            running[number] = start(path, log, f"{seed} {log.stem}", left)
        for process in running:
            process.join()
            assert process.exitcode == 0
    return [operation for log in logs for operation in read_log(log)]


def test_operations_of_many_killed_processes_are_linearizable(tmp_path: Path) -> None:
    done = killed_clients(tmp_path, NUM_CLIENTS, NUM_OPERATIONS * NUM_CLIENTS, 10, "tests")
    assert len(done) >= NUM_OPERATIONS * NUM_CLIENTS
    assert {one.kind for one in done} == {"promote", "rollback", "live"}
    check_state(tmp_path / "registry.sqlite", done)


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_a_kill_at_a_named_point_leaves_one_live_version(tmp_path: Path, failpoint: str) -> None:
    path = make_registry(tmp_path)
    log = tmp_path / "client.log"
    with clients() as start:
        process = start(path, log, f"{failpoint} 1", 100, failpoint)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        again = start(path, tmp_path / "again.log", "again", 10)
        again.join()
        assert again.exitcode == 0  # whoever comes next is not kept waiting
    check_state(path, read_log(log) + read_log(tmp_path / "again.log"))


def test_kills_at_random_moments_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path, draw = make_registry(tmp_path), random.Random("moments")
    done: list[Operation] = []
    with clients() as start:
        for kill in range(NUM_RANDOM_KILLS):
            log = tmp_path / f"{kill}.log"
            process = start(path, log, f"kill {kill}", 1_000)
            while not log.exists():
                time.sleep(0.002)
            time.sleep(draw.uniform(0.0, 0.06))
            process.kill()
            process.join()
            assert process.exitcode == -signal.SIGKILL
            done += read_log(log)
    assert len(done) > NUM_RANDOM_KILLS
    check_state(path, done)


@pytest.mark.parametrize("lie", ["a stale read", "a lost write", "an overtaken write"])
def test_a_history_that_no_order_explains_is_refused(tmp_path: Path, lie: str) -> None:
    path = make_registry(tmp_path)
    registry = Registry(path)
    a, b = "a" * 64, "b" * 64
    registry.promote("acme", "helpdesk", b, "w1", "test")
    registry.promote("acme", "helpdesk", a, "w2", "test")
    registry.close()
    setup = Operation("setup", "promote", a, 0, 1, a)
    first = Operation("w1", "promote", b, 10, 20, b)
    second = Operation("w2", "promote", a, 30, 40, a)
    between = Operation("r", "live", "", 21, 29, b)
    good = [setup, first, second, between, Operation("s", "live", "", 35, 50, b)]
    check_history(path, good)
    changed = {
        "a stale read": [*good, Operation("t", "live", "", 41, 50, b)],
        "a lost write": [*good, Operation("w3", "promote", b, 41, 50, b)],
        "an overtaken write": [setup, second, Operation("w1", "promote", b, 45, 50, b)],
    }
    with pytest.raises(AssertionError):
        check_history(path, changed[lie])
