"""Pins and freezes hold what is live; the page's requests are kept until they are done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from noria.errors import Held, UnknownName, UsageError
from noria.registry import Registry

A, B, C = (letter * 64 for letter in "abc")
NAME = ("acme", "helpdesk")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    registry = Registry(tmp_path / "registry.sqlite")
    for weights in (A, B, C):
        (tmp_path / "artifacts" / weights[:8]).mkdir(parents=True)
        registry.register(*NAME, weights, f"artifacts/{weights[:8]}", "trained", "")
    for weights in (A, B):
        registry.promote(*NAME, weights, "ann", "first")
    yield registry
    registry.verify_chain()
    registry.close()


def live(registry: Registry) -> str:
    found = registry.live(*NAME)
    assert found is not None
    return found.weight_hash


def test_a_pinned_name_moves_by_hand_only(registry: Registry) -> None:
    registry.hold(*NAME, "pin", "ann", "a demonstration tomorrow")
    with pytest.raises(Held, match=r"pinned.*noria unpin"):
        registry.promote(*NAME, C, "noria improve", "better", automatic=True)
    with pytest.raises(Held, match="pinned"):
        registry.rollback(*NAME, "noria improve", "errors", automatic=True)
    assert live(registry) == B
    registry.promote(*NAME, C, "ann", "by hand")
    registry.rollback(*NAME, "ann", "by hand")
    assert registry.holds(*NAME) == {"pin"}
    registry.hold(*NAME, "unpin", "ann", "over")
    assert registry.promote(*NAME, C, "noria improve", "better", automatic=True).weight_hash == C


def test_a_frozen_name_is_moved_by_nobody_until_it_is_unfrozen(registry: Registry) -> None:
    registry.hold(*NAME, "freeze", "ann", "an audit")
    registry.hold(*NAME, "unpin", "ann", "does not help")
    for automatic in (True, False):
        with pytest.raises(Held, match=r"frozen.*noria unfreeze"):
            registry.promote(*NAME, C, "ann", "better", automatic=automatic)
        with pytest.raises(Held, match="frozen"):
            registry.rollback(*NAME, "ann", "worse", automatic=automatic)
    assert registry.promote(*NAME, B, "ann", "is live").weight_hash == B  # moves nothing
    registry.hold(*NAME, "unfreeze", "ann", "over")
    assert registry.rollback(*NAME, "ann", "worse").weight_hash == A


def test_holding_twice_changes_nothing_and_each_change_is_in_the_trail(registry: Registry) -> None:
    for action in ("pin", "pin", "freeze", "unpin", "unpin", "unfreeze"):
        registry.hold(*NAME, action, "ann", "a reason")
        registry.verify_chain()
    said = [entry.action for entry in registry.history(*NAME)][-4:]
    assert said == ["pin", "freeze", "unpin", "unfreeze"]
    assert registry.holds(*NAME) == frozenset()


def test_what_is_not_live_or_not_known_is_not_held(registry: Registry) -> None:
    with pytest.raises(UnknownName):
        registry.hold("other", "helpdesk", "pin", "eve", "theirs")
    with pytest.raises(UsageError, match="one of pin"):
        registry.hold(*NAME, "glue", "ann", "?")
    assert registry.holds("other", "helpdesk") == frozenset()


def test_requests_are_open_until_they_are_closed_once(registry: Registry) -> None:
    first = registry.request(*NAME, "promote", C, "page: p-1")
    second = registry.request(*NAME, "improve", "", "page: p-2")
    assert [one.id for one in registry.open_requests()] == [first, second] == [1, 2]
    registry.close_request(first, "promoted")
    assert [one.action for one in registry.open_requests()] == ["improve"]
    with pytest.raises(UnknownName, match="no open request"):
        registry.close_request(first, "again")
    done, still = registry.requests(*NAME)
    assert (done.outcome, done.weight_hash, done.actor) == ("promoted", C, "page: p-1")
    assert done.closed_at is not None and still.closed_at is None
    assert registry.requests("other", "helpdesk") == []


@pytest.mark.parametrize(
    ("action", "weights"), [("erase", ""), ("promote", ""), ("rollback", A), ("improve", A)]
)
def test_a_request_that_makes_no_sense_is_refused(
    registry: Registry, action: str, weights: str
) -> None:
    with pytest.raises(UsageError):
        registry.request(*NAME, action, weights, "eve")
    assert registry.open_requests() == []


def test_a_trial_is_one_a_name_and_ends_with_every_move_or_hold(registry: Registry) -> None:
    trials = registry.trials
    first = trials.begin(*NAME, C, "shadow", 0.2, 10, "ann")
    assert trials.begin(*NAME, C, "shadow", 0.2, 10, "ann") == first
    second = trials.begin(*NAME, C, "canary", 0.1, 500, "ann", after=first)
    assert trials.of(*NAME) == second and trials.by_tenant("helpdesk") == {"acme": second}
    with pytest.raises(UsageError, match="ended meanwhile"):
        trials.begin(*NAME, C, "canary", 0.3, 10, "late", after=first)
    with pytest.raises(UsageError, match="ended meanwhile"):
        registry.promote(*NAME, C, "late", "shadow", automatic=True, trial=first)
    assert not trials.withdraw(first, "late", "?", {}) and live(registry) == B
    for end in ("promote", "rollback", "pin", "freeze"):
        trials.begin(*NAME, C, "canary", 0.1, 500, "ann")
        if end == "promote":
            registry.promote(*NAME, A, "ann", "by hand")
        elif end == "rollback":
            registry.rollback(*NAME, "ann", "by hand")
        else:
            registry.hold(*NAME, end, "ann", "by hand")
        assert trials.of(*NAME) is None
        registry.verify_chain()
        if end in ("pin", "freeze"):
            with pytest.raises(Held):
                trials.begin(*NAME, C, "canary", 0.1, 500, "ann")
            registry.hold(*NAME, f"un{end}", "ann", "over")


def test_trials_that_can_not_be_are_refused(registry: Registry) -> None:
    begin = registry.trials.begin
    for stage, share, num in (("canary", 0.0, 1), ("canary", 1.0, 1), ("live", 0.1, 1)):
        with pytest.raises(UsageError, match="a trial"):
            begin(*NAME, C, stage, share, num, "ann")
    with pytest.raises(UsageError, match="beside itself"):
        begin(*NAME, B, "canary", 0.1, 10, "ann")
    with pytest.raises(UsageError, match="no verdict"):
        begin(*NAME, C, "canary", 0.1, 10, "ann", "verdict-1")
    registry.record_gate(*NAME, C, "verdict-1", "set", {"promote": False})
    with pytest.raises(UsageError, match="says no"):
        begin(*NAME, C, "canary", 0.1, 10, "ann", "verdict-1")
    registry.register("other", "helpdesk", A, f"artifacts/{A[:8]}", "trained", "")
    with pytest.raises(UsageError, match="beside nothing"):
        begin("other", "helpdesk", A, "canary", 0.1, 10, "eve")
    assert registry.trials.of(*NAME) is None


def test_an_automatic_rollback_takes_back_only_what_it_judged(registry: Registry) -> None:
    registry.promote(*NAME, C, "ann", "meanwhile")
    with pytest.raises(UsageError, match="not live any more"):
        registry.rollback(*NAME, "watch", "errors of B", automatic=True, only=B)
    assert live(registry) == C
