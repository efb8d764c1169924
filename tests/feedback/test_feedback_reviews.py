"""Reviewers' decisions: kept, ordered by storing, one tenant at a time, never rewritten."""

from __future__ import annotations

from pathlib import Path

import pytest

from noria.errors import UsageError
from noria.feedback.reviews import LEAVE, TAKE, ReviewStore


def test_the_last_decision_counts_after_reopening_and_all_are_kept(tmp_path: Path) -> None:
    store = ReviewStore(tmp_path / "reviews.sqlite")
    store.decide("acme", "fb-1", TAKE, "Ada", decided_at=9.0)
    store.decide("acme", "fb-2", LEAVE, "Ada")
    store.decide("acme", "fb-1", LEAVE, "Bob", "看过了", decided_at=1.0)
    store.decide("other", "fb-1", TAKE, "Eve")
    store.close()
    again = ReviewStore(tmp_path / "reviews.sqlite")
    latest = again.latest("acme")
    assert {one: found.action for one, found in latest.items()} == {"fb-1": LEAVE, "fb-2": LEAVE}
    assert (latest["fb-1"].actor, latest["fb-1"].note) == ("Bob", "看过了")
    assert [one.actor for one in again.every("acme")] == ["Ada", "Ada", "Bob"]
    assert again.latest("other")["fb-1"].action == TAKE
    again.close()


@pytest.mark.parametrize(
    ("action", "actor", "note"),
    [("maybe", "Ada", ""), (TAKE, " ", ""), (TAKE, "Ada", "x" * 501), (TAKE, "A\ud800", "")],
)
def test_a_decision_that_means_nothing_is_refused(
    tmp_path: Path, action: str, actor: str, note: str
) -> None:
    store = ReviewStore(tmp_path / "reviews.sqlite")
    with pytest.raises(UsageError):
        store.decide("acme", "fb-1", action, actor, note)
    assert store.every("acme") == []
    store.close()
