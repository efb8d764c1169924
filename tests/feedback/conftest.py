"""A feedback store of each kind: in a SQLite file, and in a real PostgreSQL."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from places import Place
from postgres_server import Server, running_server

from noria.feedback.cipher import master_keys_of
from noria.feedback.store import FeedbackStore


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    master = master_keys_of(tmp_path / "master.key")
    if request.param == "sqlite":
        place = Place(tmp_path / "feedback.sqlite", master)
    else:
        place = Place(request.getfixturevalue("server").new_database(), master)
    yield place
    for store in place.opened:
        store.close()


@pytest.fixture
def store(place: Place) -> FeedbackStore:
    return place.open()
