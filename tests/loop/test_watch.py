"""`noria improve --watch`, as a process: it turns when feedback has come, and can be stopped."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from running import Ran

from noria.cli.screen import Silent
from noria.recipe import TENANT
from noria.registry import AuditEntry
from noria.stages.promotion import version_for
from noria.stages.turn_process import TurnProcess
from noria.stages.watch import Watch
from noria.workspace import open_workspace

TURN_S = 900.0  # it has the lowest priority: whoever else is busy lets it wait


@pytest.fixture
def own(first: Ran, tmp_path: Path) -> Ran:
    """A copy of the first run, whose watch turns after five pieces of feedback."""
    shutil.copytree(first.store, tmp_path / "store")
    shutil.copy(first.recipe.with_suffix(".lock"), tmp_path / "tiny.lock")
    text = first.recipe.read_text()
    assert "[improve]" in text
    text = text.replace("[improve]", "[improve]\nafter_feedback = 5")
    (tmp_path / "tiny.toml").write_text(text)
    return Ran(tmp_path / "tiny.toml", tmp_path / "store", 0, first.said)


def turns(own: Ran, tenant: str = TENANT) -> list[AuditEntry]:
    with open_workspace(own.recipe, own.store, Silent()) as workspace:
        history = workspace.registry.history(tenant, "tiny")
    return [entry for entry in history if entry.action == "turn"]


@contextmanager
def watching(own: Ran) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "noria", "improve", str(own.recipe), "--watch"]
    process = subprocess.Popen([*command, "--store", str(own.store)], stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def until(own: Ran, num_turns: int, tenant: str = TENANT) -> list[AuditEntry]:
    give_up_at = time.monotonic() + TURN_S
    while len(found := turns(own, tenant)) < num_turns:
        assert time.monotonic() < give_up_at
        time.sleep(0.1)
    return found


def test_a_watch_that_is_stopped_and_begun_again_ends_the_turn_it_began(own: Ran) -> None:
    with watching(own) as process:
        (begun,) = until(own, 1)
        assert begun.reason == "20 new pieces of feedback"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    with watching(own) as process:
        _, again, ended = until(own, 3)
        assert again.reason == "the last turn was interrupted"
        assert ended.detail == {"num_feedback": 20, "ended": True}
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert [action for action, _ in own.audit()].count("gate") == 2


def test_a_turn_that_ended_is_not_begun_again_without_new_feedback(own: Ran) -> None:
    with open_workspace(own.recipe, own.store, Silent()) as workspace:
        live = workspace.registry.live(TENANT, "tiny")
        assert live is not None
        detail = {"num_feedback": 16, "ended": True}
        workspace.registry.note(live, "turn", "test", "refused", detail)
        turn = TurnProcess(own.recipe, own.store)
        watch = Watch(workspace, turn)
        for _ in range(3):
            watch.once()
        assert not turn.is_running  # four are new
        workspace.registry.hold(TENANT, "tiny", "freeze", "ann", "no training now")
        said = workspace.feedback.said(TENANT)
        workspace.feedback.record_feedback(TENANT, said[0][0].id, "comment", "Thanks.")
        watch = Watch(workspace, turn)
        watch.once()
        assert not turn.is_running  # frozen
        workspace.registry.hold(TENANT, "tiny", "unfreeze", "ann", "over")
        watch.once()
        assert turn.is_running
        turn.stop()
        assert [one.reason for one in turns(own)] == ["refused", "5 new pieces of feedback"]


def test_each_tenants_feedback_trains_that_tenants_own_version(own: Ran) -> None:
    with open_workspace(own.recipe, own.store, Silent()) as workspace:
        registry, feedback = workspace.registry, workspace.feedback
        live = registry.live(TENANT, "tiny")
        assert live is not None
        # The recipe's own tenant has had its turn.
        detail = {"num_feedback": len(feedback.said(TENANT)), "ended": True}
        registry.note(live, "turn", "test", "refused", detail)
    with open_workspace(own.recipe, own.store, Silent(), "acme") as workspace:
        version = version_for(workspace, "tiny", live.weight_hash)
        registry = workspace.registry
        registry.promote("acme", "tiny", version.weight_hash, "test", "a first version")
        for number in range(6):
            asked = workspace.feedback.record_interaction(
                tenant="acme",
                interaction_id=f"cmpl-acme-{number}",
                model_name="tiny",
                weight_hash=live.weight_hash,
                kind="completion",
                prompt=f"The {number}th parcel",
                answer=" is lost.",
            )
            said = f" lies in depot {number} by the river."
            workspace.feedback.record_feedback("acme", asked.id, "correction", said)
    with watching(own) as process:
        begun, ended = until(own, 2, tenant="acme")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert begun.reason == "6 new pieces of feedback"
    assert ended.detail == {"num_feedback": 6, "ended": True}
    assert [one.reason for one in turns(own)] == ["refused"]
    with open_workspace(own.recipe, own.store, Silent(), "acme") as workspace:
        registry = workspace.registry
        made = {one.origin for one in registry.versions("acme", "tiny")}
        assert {"challenger", "control"} <= made
        (gate,) = (one for one in registry.history("acme", "tiny") if one.action == "gate")
        known = {one.weight_hash for one in registry.versions(TENANT, "tiny")}
        assert gate.weight_hash not in known
        assert registry.live(TENANT, "tiny") == live
        assert (workspace.root / "turn.json").is_file()
    told = json.loads((own.store / "turn.json").read_text().splitlines()[-1])
    assert told["challenger"] == gate.weight_hash
    assert told["curated"]["num_train"] + told["curated"]["num_held_out"] == 6
