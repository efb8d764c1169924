"""Decisions of a real run are decided again from their records; drift of real inputs is seen."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from running import Ran, noria

from noria.cli.screen import Silent
from noria.recipe import TENANT
from noria.serve.live_signals import LiveSignals
from noria.stages.turn_process import TurnProcess
from noria.stages.watch import Watch
from noria.workspace import Workspace, open_workspace

CHINESE = "尊敬的客户，您的包裹已经到达，请尽快前来领取。编号{}。"


@pytest.fixture
def own(first: Ran, tmp_path: Path) -> Ran:
    """A copy of the first run that a test may change."""
    shutil.copytree(first.store, tmp_path / "store")
    for suffix in (".toml", ".lock"):
        shutil.copy(first.recipe.with_suffix(suffix), tmp_path / f"tiny{suffix}")
    return Ran(tmp_path / "tiny.toml", tmp_path / "store", 0, first.said)


def test_a_verdict_is_replayed_to_the_same_and_changed_evidence_is_found(own: Ran) -> None:
    where = ["-r", str(own.recipe), "--store", str(own.store)]
    (gate,) = (own.store / "artifacts").glob("gate-*")
    key = json.loads((gate / "manifest.json").read_text())["key"]
    by_key = noria("trace", "--replay", key[:12], *where)["replayed"]
    assert by_key["same"] and by_key["action"] == "gate"
    assert noria("trace", "--replay", str(by_key["position"]), *where)["replayed"] == by_key
    assert noria("trace", "--verify", *where)["verified"]["audit_entries"] >= 6
    noria("trace", "--replay", "1", *where, exit_code=2)  # a registration decides nothing
    evidence = gate / "evidence.json"
    changed = json.loads(evidence.read_text())
    settings = changed["arguments"]["mapping"]["settings"]["fields"]
    settings["margin"] = 0.5
    evidence.write_text(json.dumps(changed))
    said = noria("trace", "--replay", key[:12], *where, exit_code=1)
    assert "does not follow from its record" in said["error"]


def watched(own: Ran) -> tuple[Workspace, Watch]:
    own.recipe.write_text(own.recipe.read_text() + "\n[rollback]\ndistance = 0.1\nrequests = 50\n")
    workspace = open_workspace(own.recipe, own.store, Silent())
    return workspace, Watch(workspace, TurnProcess(own.recipe, own.store))


def test_inputs_unlike_those_that_were_evaluated_roll_back_by_themselves(own: Ran) -> None:
    workspace, watch = watched(own)
    with workspace:
        live = workspace.registry.live(TENANT, "tiny")
        assert live is not None
        signals = LiveSignals(workspace.registry, "tiny")
        for number in range(60):
            signals.note(TENANT, live.weight_hash, CHINESE.format(number), 0.05)
        signals.flush(now=True)
        watch.once()
        now = workspace.registry.live(TENANT, "tiny")
        assert now is not None and now.weight_hash != live.weight_hash
        entry = workspace.registry.history(TENANT, "tiny")[-1]
        assert entry.action == "rollback" and entry.reason.startswith("distance of inputs: ")
        assert entry.detail["numbers"]["seen"]["distance"] > 0.1
    where = ["-r", str(own.recipe), "--store", str(own.store)]
    assert noria("trace", "--replay", str(entry.position), *where)["replayed"]["same"]


def test_inputs_like_those_that_were_evaluated_change_nothing(own: Ran) -> None:
    workspace, watch = watched(own)
    (corpus,) = (own.store / "artifacts").glob("corpus-*")
    texts = [json.loads(line) for line in (corpus / "test.jsonl").read_text().splitlines()]
    with workspace:
        live = workspace.registry.live(TENANT, "tiny")
        assert live is not None
        signals = LiveSignals(workspace.registry, "tiny")
        for row in texts * 3:
            signals.note(TENANT, live.weight_hash, row["content"][0]["text"], 0.05)
        signals.flush(now=True)
        before = len(workspace.registry.history(TENANT, "tiny"))
        watch.once()
        assert len(workspace.registry.history(TENANT, "tiny")) == before
