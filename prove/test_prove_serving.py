"""100,000 requests and 10,000 disconnects: `make prove`.

What is asked and what every reply has to hold: tests/serve/generated_requests.py.
"""

from __future__ import annotations

import os
import resource
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "serve"))

from generated_requests import ask_by_document, ask_by_hand, go_away
from serving_world import World

from noria.runtime import child_process_ids

NUM_BY_HAND = 80_000
NUM_EACH = 175  # of each route, right and wrong ones, for each of four seeds: 5,200
NUM_GONE = 10_000


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def memory_bytes() -> int:
    """Of this process, which serves, and of its worker."""
    ids = [os.getpid(), *child_process_ids(os.getpid())]
    pages = (int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in ids)
    return sum(pages) * resource.getpagesize()


def start(world: World) -> None:
    world.promote("")
    world.promote_task()
    world.start()


def test_of_a_hundred_thousand_requests_the_odd_ones_are_answered_or_refused(world: World) -> None:
    start(world)
    found: Counter[int] = Counter()
    for seed in range(8):
        found += ask_by_hand(world, NUM_BY_HAND // 8, seed)
        print(sum(found.values()), dict(found), flush=True)
    assert sum(found.values()) == NUM_BY_HAND
    assert world.http().get("/health").status_code == 200


@pytest.mark.parametrize("seed", range(4))
def test_of_a_hundred_thousand_requests_those_by_the_document_are_too(
    world: World, seed: int
) -> None:
    start(world)
    found = ask_by_document(world, NUM_EACH, seed)
    print(sum(found.values()), dict(found), flush=True)
    assert sum(found.values()) >= (100_000 - NUM_BY_HAND) / 4
    assert world.http().get("/health").status_code == 200


def test_ten_thousand_disconnects_leave_no_trace(world: World) -> None:
    world.promote("a")
    world.start(max_running=2, max_waiting=64)
    sizes = []
    for seed in range(10):
        go_away(world, NUM_GONE // 10, seed)
        world.until(lambda: world.health()["running"] + world.health()["waiting"] == 0, 60)
        sizes.append(memory_bytes())
    print([round(one / 1e6) for one in sizes])
    assert sizes[-1] < sizes[1] + 60e6  # the first thousand allocate what stays
