"""100,000 requests and 10,000 disconnects against one server: `make prove`.

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
NUM_EACH = 1_000  # of each route, right and wrong ones: 22,000 and more
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


def test_a_hundred_thousand_requests_are_answered_or_refused(world: World) -> None:
    world.promote("")
    world.promote_task()
    world.start()
    found: Counter[int] = Counter()
    for seed in range(8):
        found += ask_by_hand(world, NUM_BY_HAND // 8, seed)
    found += ask_by_document(world, NUM_EACH, seed=0)
    print(sum(found.values()), dict(found))
    assert sum(found.values()) >= 100_000
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
