"""A base with new tokens: what the stages make of it, and what a recipe may ask."""

from __future__ import annotations

import pytest
from tiny_llamas import tiny_llama, tokenizer_keys, write_gguf

from noria.artifacts import Artifact
from noria.cli.screen import Silent
from noria.generate.loaded import load_language_model
from noria.stages.ancestors import find_ancestor
from noria.stages.extending import extend_base
from noria.stages.text import build_corpus, build_shards
from noria.stages.tuning import build_base
from noria.tokenizer.pack import open_shard
from noria.workspace import Workspace, open_workspace

RECIPE = """name = "longer"
[corpus]
documents = ["*.txt"]
held_out = 0.3
near_duplicates = false
[model]
base = "tiny.gguf"
[tokenizer]
extend = 30
"""
WORDS = ("守灯人", "每天傍晚", "登上", "楼梯", "天气", "西风", "午夜", "有雨", "灯塔", "水车")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("recipe")
    write_gguf(folder / "tiny.gguf", tiny_llama("grouped-untied"), changes=tokenizer_keys())
    for number in range(12):
        words = [WORDS[(number * step + step) % 10] for step in range(1, 60)]
        (folder / f"{number}.txt").write_text("".join(words) + "。", encoding="utf-8")
    (folder / "noria.toml").write_text(RECIPE, encoding="utf-8")
    return open_workspace(folder / "noria.toml", folder / "store", Silent())


@pytest.fixture(scope="module")
def made(workspace: Workspace) -> tuple[Artifact, Artifact, Artifact]:
    corpus, base = build_corpus(workspace), build_base(workspace)
    return corpus, base, extend_base(workspace, corpus, base)


def test_the_facts_say_what_the_new_tokens_are_worth_before_any_training(
    made: tuple[Artifact, Artifact, Artifact],
) -> None:
    _, base, longer = made
    facts = longer.facts
    assert facts["num_new_tokens"] == 30
    assert facts["vocab_size"] == base.facts["vocab_size"] + 30
    assert facts["name"] == base.facts["name"]
    before, after = facts["before"], facts["after"]
    assert after["tokens_per_character"] < before["tokens_per_character"]
    assert 0 < after["bits_per_byte"] < 100
    assert load_language_model(longer.path).weight_hash == facts["weight_hash"]
    assert facts["weight_hash"] != base.facts["weight_hash"]


def test_tokens_over_a_longer_base_use_its_new_ids_and_a_turn_finds_it(
    workspace: Workspace, made: tuple[Artifact, Artifact, Artifact]
) -> None:
    corpus, base, longer = made
    tokens = build_shards(workspace, corpus, longer)
    assert open_shard(tokens.path / "train").tokens.max() >= base.facts["vocab_size"]
    assert tokens.facts["fertility"]["zh"]["tokens"] > 0
    found = find_ancestor(workspace, tokens, "extend")
    assert found is not None
    assert found.key == longer.key
