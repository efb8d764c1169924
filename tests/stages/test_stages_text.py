import json
from pathlib import Path

from noria.cli.screen import Silent
from noria.records import Document, read_records
from noria.stages.text import FIRST_CORPUS_SETTINGS, build_corpus
from noria.text_settings import CorpusSettings
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
