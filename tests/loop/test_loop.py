"""Once around the loop, on real text: the wheel turns, the gate is alive, nothing is done twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from running import Ran, facts, run


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
    of_speed = [score for score in scores if score["metric"].startswith("speed.")]
    # Of the model: first token and answer, median and p95; tokens/s; memory. And in the gate, of
    # champion and challenger: first token, tokens/s, weights.
    assert len(of_speed) == 6 + 6
    assert len(scores) == 12 + 12  # model, n-gram, int8; three models on three sets
    for score in scores:
        assert score["weight_hash"] in known
        if score in of_speed:  # memory is one reading, and the ends of a few timings are timings
            assert score["value"] > 0
        else:
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
    assert ran.said["gate"] in ("refused", "not enough evidence")
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
