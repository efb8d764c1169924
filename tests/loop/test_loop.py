"""Once around the loop, on real text: the wheel turns, the gate is alive, nothing is done twice."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from noria.recipe import TENANT
from noria.registry import Registry


@dataclass(frozen=True)
class Ran:
    """A run of the command line: where, how it ended, what it said."""

    recipe: Path
    store: Path
    exit_code: int
    said: dict[str, Any]

    def audit(self) -> list[tuple[str, str]]:
        registry = Registry(self.store / "registry.sqlite")
        entries = [
            (entry.action, entry.weight_hash)
            for entry in registry.history(TENANT, "tiny")
            if entry.action != "register"
        ]
        registry.close()
        return entries


def noria(*words: str, exit_code: int = 0) -> dict[str, Any]:
    """Run a verb in a process of its own, as a user does; returns its JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "noria", *words, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == exit_code, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def run(recipe: Path, store: Path, exit_code: int = 0) -> Ran:
    said = noria("run", str(recipe), "--store", str(store), exit_code=exit_code)
    return Ran(recipe, store, exit_code, said)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, tiny_recipe) -> Ran:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("first")
    return run(tiny_recipe(folder), folder / "store")


def facts(ran: Ran, stage: str) -> list[dict[str, Any]]:
    found = sorted((ran.store / "artifacts").glob(f"{stage}-*/manifest.json"))
    return [json.loads(path.read_text())["facts"] for path in found]


def test_a_run_on_real_text_promotes_and_the_server_follows(first: Ran) -> None:
    assert first.said["gate"] == "promoted"
    (challenger,) = facts(first, "challenger")
    (base,) = facts(first, "train")
    assert first.said["live"] == challenger["weight_hash"] != base["weight_hash"]
    assert [action for action, _ in first.audit()] == ["promote", "gate", "promote"]
    (swap,) = facts(first, "swap")
    assert swap["witnessed"] and swap["weight_hash"] == challenger["weight_hash"]
    assert "<html" in (first.store / "report.html").read_text()


def test_the_gate_agrees_with_text_that_no_gate_reads(first: Ran) -> None:
    (gate,) = facts(first, "gate")
    assert gate["afterwards"]["feedback"]["high"] < 0  # better on unread passages of the novel
    assert gate["contributions"]["frozen"]["high"] < 0  # and better than the control


def test_every_score_carries_the_hash_of_its_weights(first: Ran) -> None:
    stages = ("ngram", "train", "compress", "challenger", "control")
    known = {fact["weight_hash"] for stage in stages for fact in facts(first, stage)}
    scores = [
        score
        for path in (first.store / "artifacts").glob("*/scores.json")
        for score in json.loads(path.read_text())["scores"]
    ]
    assert len(scores) == 12  # model, n-gram, int8; three models on three sets
    for score in scores:
        assert score["weight_hash"] in known
        assert score["low"] < score["value"] < score["high"]


def test_a_second_run_makes_nothing_again(first: Ran) -> None:
    before = {p.name: p.stat().st_mtime_ns for p in (first.store / "artifacts").iterdir()}
    again = run(first.recipe, first.store)
    assert again.said["live"] == first.said["live"]
    after = {p.name: p.stat().st_mtime_ns for p in (first.store / "artifacts").iterdir()}
    assert after == before
    assert len(again.audit()) == 3


def test_a_changed_setting_redoes_only_what_depends_on_it(first: Ran, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(first.store, store)
    recipe = tmp_path / "tiny.toml"
    text = first.recipe.read_text()
    recipe.write_text(text.replace("[gate]", "[gate]\nmargin = 0.04"))
    shutil.copy(first.recipe.with_suffix(".lock"), tmp_path / "tiny.lock")
    before = {p.name for p in (store / "artifacts").iterdir()}
    run(recipe, store)
    new = {p.name.split("-")[0] for p in (store / "artifacts").iterdir() if p.name not in before}
    assert new == {"gate"}


def test_shuffled_feedback_is_refused_with_exit_code_3(
    first: Ran,
    tmp_path: Path,
    tiny_recipe,  # type: ignore[no-untyped-def]
) -> None:
    store = tmp_path / "store"
    shutil.copytree(first.store, store)
    recipe = tiny_recipe(tmp_path, placebo=True)
    shutil.copy(first.recipe.with_suffix(".lock"), tmp_path / "tiny.lock")
    ran = run(recipe, store, exit_code=3)
    assert ran.said["gate"] == "refused"
    (base,) = facts(ran, "train")
    assert ran.said["live"] == base["weight_hash"]


def test_a_challenger_equal_to_the_champion_is_refused(
    first: Ran,
    tmp_path: Path,
    tiny_recipe,  # type: ignore[no-untyped-def]
) -> None:
    store = tmp_path / "store"
    shutil.copytree(first.store, store)
    recipe = tiny_recipe(tmp_path, steps=0)
    shutil.copy(first.recipe.with_suffix(".lock"), tmp_path / "tiny.lock")
    ran = run(recipe, store, exit_code=3)
    assert ran.said["live"] == first.said["live"]  # what was live stays live
    (base,) = facts(ran, "train")
    assert base["weight_hash"] in [fact["weight_hash"] for fact in facts(ran, "challenger")]
    assert ran.audit()[3:] == [("gate", base["weight_hash"])]


def test_the_same_seed_and_lock_in_another_store_give_the_same_weights(
    first: Ran,
    tmp_path: Path,
    tiny_recipe,  # type: ignore[no-untyped-def]
) -> None:
    recipe = tiny_recipe(tmp_path)
    shutil.copy(first.recipe.with_suffix(".lock"), tmp_path / "tiny.lock")
    other = run(recipe, tmp_path / "store")
    assert other.said["live"] == first.said["live"]
