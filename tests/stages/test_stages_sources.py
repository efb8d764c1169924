"""A recipe's sources become a corpus, and the run says what it understood and what it lost."""

from __future__ import annotations

import json
from pathlib import Path

from noria.check import check_recipe
from noria.records import Conversation, read_records
from noria.stages.text import build_corpus
from noria.workspace import open_workspace

RECIPE = """name = "mill"
[sources.qa]
files = ["in"]
"""


class Listener:
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def begin(self, stage: str) -> None:
        pass

    def progress(self, text: str, done: float, total: float) -> None:
        pass

    def say(self, text: str) -> None:
        self.said.append(text)

    def end(self, stage: str, result: str, elapsed_s: float, reused: bool) -> None:
        self.said.append(f"{result} (re-used)" if reused else result)


def _write(folder: Path) -> Path:
    rows = [f"第{n}号水车每天提多少水？,它提{n * 3}桶水，由第{n}个人看守。" for n in range(40)]
    (folder / "in").mkdir()
    text = "\n".join(["问题,答案", *rows, "坏行"])
    (folder / "in" / "qa.csv").write_bytes(text.encode("gb18030"))
    recipe = folder / "noria.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    return recipe


def test_sources_become_a_corpus_that_says_what_it_read_and_lost(tmp_path: Path) -> None:
    recipe = _write(tmp_path)
    listener = Listener()
    with open_workspace(recipe, None, listener) as workspace:
        corpus = build_corpus(workspace)
    understood, lost, line = listener.said
    assert "conversation: 40 from 1 file, CSV, GB18030 (guessed)" in understood
    assert "assistant from '答案', user from '问题'" in understood
    assert lost.startswith("quarantine: 1 × ") and lost.endswith("in/qa.csv:42")
    assert "in quarantine 1" in line
    assert json.loads((corpus.path / "quarantine.jsonl").read_text("utf-8"))["value"] == "坏行"
    records = list(read_records(corpus.path / "train.jsonl"))
    assert records and all(isinstance(one, Conversation) for one in records)


def test_what_a_recipe_says_of_a_source_is_part_of_the_corpus_key(tmp_path: Path) -> None:
    recipe = _write(tmp_path)
    keys = []
    for more in (
        "",
        "",
        'encoding = "gb18030"\n',
        'columns = { user = "答案", assistant = "问题" }\n',
    ):
        recipe.write_text(RECIPE + more, encoding="utf-8")
        with open_workspace(recipe, None, Listener()) as workspace:
            keys.append(build_corpus(workspace).key)
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_check_counts_sources_and_says_what_it_could_not_read(tmp_path: Path) -> None:
    recipe = _write(tmp_path)
    small = '[model]\npreset = "decoder-1m"\ncontext_tokens = 32\n[train]\ncompile = "off"\n'
    recipe.write_text(RECIPE + small + 'tokens = 64\nprecision = "float32"\nbatch_tokens = 64\n')
    listener = Listener()
    with open_workspace(recipe, None, listener) as workspace:
        estimate = check_recipe(workspace)
    assert estimate["corpus_bytes"] == (tmp_path / "in" / "qa.csv").stat().st_size
    assert any("1 in quarantine, the first in/qa.csv:42" in said for said in listener.said)
