"""Before a live model is replaced for the first time, somebody signed; by hand as by the loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from noria.errors import UsageError
from noria.registry import Registry
from noria.registry.reviews import Review, require_review, sign_review

A, B = "a" * 64, "b" * 64
SAID = ("sorting what customers write", "deciding about people", "people who write little")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = Registry(tmp_path / "registry.sqlite")
    for weights in (A, B):
        (tmp_path / "artifacts" / weights).mkdir(parents=True)
        opened.register("default", "desk.intent", weights, f"artifacts/{weights}", "made", "")
    yield opened
    opened.close()


def test_the_first_promotion_over_a_live_version_wants_a_signature(
    registry: Registry, tmp_path: Path
) -> None:
    asked = (tmp_path, registry, "default", "desk.intent")
    require_review(*asked, A, "desk.toml")  # nothing is live: nobody is served by anything else
    registry.promote("default", "desk.intent", A, "noria run", "the first version")
    require_review(*asked, A, "desk.toml")  # it is live
    with pytest.raises(UsageError, match=r"noria review desk\.toml --task intent --sign"):
        require_review(*asked, B, "desk.toml")
    sign_review(tmp_path, Review("other", "Ada", *SAID, A, 0.0))
    with pytest.raises(UsageError, match="no signed review"):
        require_review(*asked, B, "desk.toml")
    sign_review(tmp_path, Review("desk.intent", "Ada", *SAID, A, 0.0))
    require_review(*asked, B, "desk.toml")


def test_what_was_live_before_may_come_back_unsigned(registry: Registry, tmp_path: Path) -> None:
    for weights in (A, B):
        registry.promote("default", "desk.intent", weights, "noria run", "by itself")
    registry.rollback("default", "desk.intent", "ann", "worse")
    require_review(tmp_path, registry, "default", "desk.intent", B, "desk.toml")


def test_all_that_a_review_does_not_say_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="10 characters") as caught:
        sign_review(tmp_path, Review("own", "Ada", "a trial", SAID[1], "", A, 0.0))
    assert "intended use 'a trial', affected ''" in str(caught.value)
    assert str(caught.value).endswith('--intended-use "…" --affected "…"')
