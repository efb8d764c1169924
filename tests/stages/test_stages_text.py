import json
from dataclasses import replace
from pathlib import Path

from noria.cli.screen import Silent
from noria.records import Conversation, Document, read_records
from noria.stages.task_page import quarantine_rows
from noria.stages.text import FIRST_CORPUS_SETTINGS, build_corpus, build_shards, build_tokenizer
from noria.text_settings import CorpusSettings
from noria.tokenizer.load import copy_tokenizer
from noria.workspace import open_workspace


def _write(folder: Path, corpus: str) -> Path:
    for n in range(30):
        text = f"Keeper {n} carried lamp {n * 3} over {n * 7} steps, and boat {n} came home."
        (folder / f"{n:02}.txt").write_text(text, encoding="utf-8")
    question = "Keeper 11 carried lamp 33 over 77 steps, and boat 11 came home."
    (folder / "quiz.md").write_text(f"Q: {question}", encoding="utf-8")
    line = {
        "messages": [{"role": "user", "content": "Lamp?"}, {"role": "assistant", "content": "Lit."}]
    }
    (folder / "made.jsonl").write_text(json.dumps(line), encoding="utf-8")
    (folder / "made.md").write_text("A program wrote of lamps and boats.", encoding="utf-8")
    path = folder / "noria.toml"
    path.write_text(f'name = "a"\n[corpus]\ndocuments = ["*.txt"]\n{corpus}', encoding="utf-8")
    return path


def test_what_a_recipe_asks_of_its_corpus_reaches_it(tmp_path: Path) -> None:
    recipe = _write(
        tmp_path,
        'evaluation = ["quiz.md"]\nsynthetic = ["made.md", "made.jsonl"]\nlanguage = "named"\n'
        '[corpus.quality]\njudge = "cut"\ndigits = 0.17\nshortest_words = 0.0\n'
        "bits_per_byte = 0.0\n",
    )
    with open_workspace(recipe, None, Silent()) as workspace:
        artifact = build_corpus(workspace)
        again = build_corpus(workspace)
    assert again.reused and again.key == artifact.key
    facts = artifact.facts
    assert facts["read"] == {"documents": 30, "conversations": 0, "synthetic": 2}
    assert facts["quality"]["limits"]["digits"]["documents"] > 0
    assert facts["synthetic"]["train"] == 2
    assert [(row["set"], row["records"]) for row in facts["contamination"]] == [("quiz.md", 1)]
    train = list(read_records(artifact.path / "train.jsonl"))
    assert not any(one.source.file == "11.txt" for one in train)
    assert {one.language for one in train if isinstance(one, Document)} == {"en"}


def test_settings_that_came_later_are_in_a_corpuss_key_only_where_they_act(tmp_path: Path) -> None:
    recipe = _write(tmp_path, "")
    with open_workspace(recipe, None, Silent()) as workspace:
        artifact = build_corpus(workspace)
    assert set(artifact.manifest.settings) == FIRST_CORPUS_SETTINGS | {"seed"}
    assert set(artifact.manifest.inputs) == {"documents", "conversations"}
    recipe = _write(tmp_path, "temperature = 2.0\n[corpus.quality]\ndigits = 0.4\n")
    with open_workspace(recipe, None, Silent()) as workspace:
        other = build_corpus(workspace)
    assert other.key != artifact.key
    more = {"seed", "temperature", "quality"}
    assert set(other.manifest.settings) == FIRST_CORPUS_SETTINGS | more
    assert other.manifest.settings["quality"]["digits"] == 0.4
    assert set(CorpusSettings.__dataclass_fields__) > FIRST_CORPUS_SETTINGS


def _ids(folder: Path, *names: str) -> set[str]:
    return {one.source.file for name in names for one in read_records(folder / f"{name}.jsonl")}


def test_a_stratified_corpus_keeps_what_the_newest_one_decided(tmp_path: Path) -> None:
    recipe = _write(tmp_path, 'split = "stratified"\nheld_out = 0.2\ntest = 0.1\n')
    with open_workspace(recipe, None, Silent()) as workspace:
        first = build_corpus(workspace)
        assert build_corpus(workspace).reused and "earlier" not in first.manifest.inputs
        for n in range(30, 80):
            text = f"Boat {n} left for the north with {n * 11} ropes before the rain."
            (tmp_path / f"{n:02}.txt").write_text(text, encoding="utf-8")
        second = build_corpus(workspace)
        assert second.manifest.inputs["earlier"] == first.key
        again = build_corpus(workspace)
        assert again.reused and again.key == second.key
    for name, size in (("train", 56), ("held_out", 16), ("test", 8)):
        before, after = _ids(first.path, name), _ids(second.path, name)
        assert before <= after and len(after) == size


def _chat(*roles: str) -> str:
    said = [{"role": role, "content": f"{role} {n}: lamp"} for n, role in enumerate(roles)]
    return json.dumps({"messages": said}) + "\n"


def test_chats_in_an_order_that_the_format_does_not_have_are_kept_aside_and_counted(
    tmp_path: Path,
) -> None:
    recipe = _write(tmp_path, 'conversations = ["talk*.jsonl"]\nmin_characters = 5\n')
    good = "".join(_chat("user", "assistant", *["user", "assistant"] * n) for n in range(1, 9))
    bad = _chat("user", "user", "assistant") + _chat("assistant", "user", "assistant")
    bad += _chat("system", "user", "assistant")
    (tmp_path / "talk.jsonl").write_text(good + bad, encoding="utf-8")
    heard: list[str] = []

    class Listening(Silent):
        def say(self, text: str) -> None:
            heard.append(text)

    with open_workspace(recipe, None, Listening()) as workspace:
        corpus = build_corpus(workspace)
        tokenizer = build_tokenizer(workspace, corpus)
        other = tmp_path / "mistral"  # the same vocabulary, described as that of another model
        other.mkdir()
        copy_tokenizer(tokenizer.path, other)
        meta = json.loads((other / "tokenizer_meta.json").read_text(encoding="utf-8"))
        changed = json.dumps(meta | {"chat_format": "mistral"})
        (other / "tokenizer_meta.json").write_text(changed, encoding="utf-8")
        shards = build_shards(
            workspace,
            corpus,
            replace(tokenizer, path=other, manifest=replace(tokenizer.manifest, key="0" * 64)),
        )
        plain = build_shards(workspace, corpus, tokenizer)
    assert "quarantined" not in plain.facts
    lost = shards.facts["quarantined"]
    kept = (shards.path / "quarantine.jsonl").read_text(encoding="utf-8").splitlines()
    read = [
        record
        for split in ("train", "held_out")
        for record in read_records(corpus.path / f"{split}.jsonl")
    ]
    roles = [[one.role for one in r.messages] for r in read if isinstance(r, Conversation)]
    wrong = [one for one in roles if one[0] != "user" or one[1] == "user"]
    assert lost["total"] == len(kept) == len(wrong) > 0
    assert sum(found["count"] for found in lost["reasons"].values()) == lost["total"]
    packed = sum(shards.facts[split]["num_sequences"] for split in ("train", "held_out"))
    assert packed == len(read) - lost["total"]
    said = [line for line in heard if "no chat in the format mistral" in line]
    assert len(said) == len(lost["reasons"])
    assert "talk.jsonl:" in said[0]
    assert [row.count for row in quarantine_rows([corpus, shards])] == [
        found["count"] for found in lost["reasons"].values()
    ]
