"""One run that the tests of the loop look at, and copy before they change anything."""

from __future__ import annotations

import pytest
from running import Ran, run


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory, tiny_recipe) -> Ran:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("first")
    return run(tiny_recipe(folder), folder / "store")
