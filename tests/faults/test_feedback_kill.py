"""What the feedback store said "stored" to is there once, whenever its writer is killed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from killed_feedback import kill_writers
from postgres_server import Server
from warm import WarmRunner

from noria.feedback.store import FeedbackStore

STORED = Path(__file__).resolve().parents[1] / "feedback" / "stored"


@pytest.fixture(scope="module")
def writer() -> Iterator[WarmRunner]:
    warm = WarmRunner("warm_feedback.py")
    yield warm
    warm.close()


def test_acknowledged_feedback_survives_kills(writer: WarmRunner, tmp_path: Path) -> None:
    ended = kill_writers(writer, tmp_path / "feedback.sqlite", tmp_path, 39, Random("a file"))
    assert sum(ended.values()) - ended["not killed"] >= 25
    assert min(ended["time"], ended["line"], ended["moment"]) >= 5


def test_acknowledged_feedback_survives_kills_in_postgresql(
    writer: WarmRunner, tmp_path: Path, server: Server
) -> None:
    ended = kill_writers(writer, server.new_database(), tmp_path, 12, Random("a server"))
    assert sum(ended.values()) - ended["not killed"] >= 8


def test_a_migration_that_is_killed_loses_no_row(writer: WarmRunner, tmp_path: Path) -> None:
    random = Random("a migration")
    codes = []
    for number in range(20):
        path = tmp_path / str(number) / "feedback.sqlite"
        path.parent.mkdir()
        shutil.copy(STORED / "schema1.sqlite", path)
        codes.append(writer.run({"open": str(path), "kill_line": random.randint(1, 420)}))
        store = FeedbackStore(path)
        assert [said.value for _, said in store.said("acme")] == [
            "down",
            "It arrived on Monday.",
            "已送达。",
            "complaint",
        ]
        assert len(store.interactions("acme")) == 3 and len(store.said("other")) == 1
        store.close()
    assert codes.count(-9) >= 15 and set(codes) <= {-9, 0}
