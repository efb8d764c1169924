"""A feedback store of each kind: in a SQLite file, and in a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from places import Place

from noria.feedback.cipher import master_keys_of
from noria.feedback.store import FeedbackStore


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
