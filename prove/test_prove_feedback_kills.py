"""Ten thousand `kill -9` of writers of feedback: `make prove`.

What is killed and what has to be there after each: tests/faults/killed_feedback.py. A store lives
for fifty kills, because everything in it is read after each. 8,000 are of SQLite files, 2,000 of
clients of a PostgreSQL.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from postgres_server import Server, running_server

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "faults"))

from killed_feedback import kill_writers
from warm import WarmRunner

KILLS_OF_A_STORE = 50
NUM_STORES = {"sqlite": 160, "postgres": 40}


@pytest.fixture(scope="module")
def writer() -> Iterator[WarmRunner]:
    warm = WarmRunner("warm_feedback.py")
    yield warm
    warm.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


@pytest.mark.parametrize("database", NUM_STORES)
def test_ten_thousand_kills_lose_nothing_and_double_nothing(
    writer: WarmRunner, server: Server, tmp_path: Path, database: str
) -> None:
    ended: Counter[str] = Counter()
    for number in range(NUM_STORES[database]):
        folder = tmp_path / str(number)
        folder.mkdir()
        where = folder / "feedback.sqlite" if database == "sqlite" else server.new_database()
        random = Random(f"{database} {number}")
        ended += kill_writers(writer, where, folder, KILLS_OF_A_STORE, random)
        print(f"{database}: {number + 1} stores, {dict(ended)}", flush=True)
    assert ended["not killed"] < 0.3 * sum(ended.values())
