"""A world for each test: stores in a folder of its own, a server on a free port."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from serving_world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world for the tests of a file that change nothing: it answers "a" for ever."""
    world = World(tmp_path_factory.mktemp("running"))
    world.promote("a")
    world.start()
    yield world
    world.close()
