"""What an application refuses, what it chooses, and that the test chooses nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from noria.ask import open_task
from noria.cli.screen import Silent
from noria.errors import InputError, NoriaError, RecipeError
from noria.evaluate.classes import NONE, Classified
from noria.evaluate.results import read_result
from noria.pipeline import run
from noria.recipe_file import parse_recipe
from noria.records import Labelled, Source, text_content
from noria.stages.task_choice import Said, choose, contenders_of, value_of
from noria.stages.task_data import build_task_data
from noria.stages.task_examples import ClassExamples
from noria.stages.tasks import build_task
from noria.tasks.calibration import fitted_temperature, joined, surprise
from noria.tasks.classify import CLASSIFY
from noria.workspace import open_workspace

ANIMALS = "dog cat horse cow sheep goat hen duck 狗 猫 马 牛"
FOODS = "bread soup cheese apple rice fish tea cake 面包 汤 米饭 鱼"
WORDS = {"animal": ANIMALS.split(" "), "food": FOODS.split(" ")}
HEAD = 'name = "r"\n[corpus]\nnames = "off"\n[tasks.t]\nkind = "classify"\n'


def rows_of(count: int) -> list[tuple[str, str]]:
    """So many short texts of two classes, no two alike, in English and Chinese."""
    found = []
    for number in range(count):
        label = sorted(WORDS)[number % 2]
        words = WORDS[label]
        text = f"{words[number % 12]} {words[number // 12 % 12]} no {number}"
        found.append((text, label))
    return found


def write_rows(path: Path, rows: list[tuple[str, str]], header: str = "text,label") -> None:
    lines = [header, *(f'"{text}",{label}' for text, label in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def data_error(folder: Path, extra: str = "") -> str:
    """What building the data of rows.csv is refused with."""
    recipe = folder / "noria.toml"
    recipe.write_text(f'{HEAD}files = ["rows.csv"]\n{extra}', encoding="utf-8")
    with open_workspace(recipe, None, Silent()) as workspace, pytest.raises(NoriaError) as error:
        build_task_data(workspace, "t")
    assert isinstance(error.value, InputError)
    return str(error.value)


@pytest.mark.parametrize(
    ("make", "extra", "words"),
    [
        (
            lambda p: write_rows(p, [(t, "") for t, _ in rows_of(60)]),
            "",
            ["no label under 'label'"],
        ),
        (lambda p: write_rows(p, [(t, "x") for t, _ in rows_of(60)]), "", ["1 class (x)", "2 at"]),
        (lambda p: write_rows(p, rows_of(6)), "", ["6 usable rows", "at least 10"]),
        (lambda p: write_rows(p, rows_of(60), "a,b"), "", ["'a', 'b'", "columns"]),
        (
            lambda p: write_rows(p, rows_of(60)),
            'columns = { text = "body", labels = "label" }\n',
            ["no column 'body'", "'text', 'label'"],
        ),
        (
            lambda p: write_rows(p, [(t, f"c{n}") for n, (t, _) in enumerate(rows_of(60))]),
            'columns = { text = "text", labels = "label" }\n',
            ["60 classes in 60 rows", "which column"],
        ),
        (
            lambda p: write_rows(p, [(f"{n} {i}", f"c{n}") for n in range(10_000) for i in (1, 2)]),
            "",
            ["10,000 classes", "at most 1,000"],
        ),
        (lambda p: p.write_bytes(b""), "", ["0 usable rows", "empty file"]),
        (lambda p: p.write_bytes(bytes(range(256)) * 9), "", ["0 usable rows", "binary"]),
    ],
    ids=[
        "no-labels",
        "one-class",
        "few",
        "columns",
        "column",
        "all-classes",
        "10000",
        "empty",
        "binary",
    ],
)
def test_files_that_no_model_can_be_made_of_are_refused_with_the_reason(
    tmp_path: Path, make: Callable[[Path], object], extra: str, words: list[str]
) -> None:
    make(tmp_path / "rows.csv")
    said = data_error(tmp_path, extra)
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('kind = "draw"\nfiles = ["a.csv"]', ["tasks.t.kind", "classify, tag"]),
        ('kind = "tag"\nfiles = ["a"]\nout_of_scope = "x"', ["out_of_scope", "leave it out"]),
        ('kind = "tag"\nfiles = ["a"]\nways = ["vectors"]', ["no way of tag", "classical"]),
        ('kind = "classify"\nfiles = ["a"]\nways = ["classical", "tuned"]', ["base ="]),
        ('kind = "classify"\nfiles = ["a"]\nways = ["scratch"]', ["add 'classical'"]),
        ('kind = "classify"\nfiles = ["a"]\ncolumns = { tags = "x" }', ["text, labels"]),
        ('kind = "classify"\nfiles = []', ["name its files"]),
        ('kind = "classify"\nfiles = ["package:no/x.csv"]', ["no such package"]),
    ],
)
def test_a_recipe_says_what_is_wrong_with_an_application(lines: str, words: list[str]) -> None:
    with pytest.raises(RecipeError) as error:
        parse_recipe(f'name = "r"\n[tasks.t]\n{lines}\n')
    assert all(word in str(error.value) for word in words), error.value


def test_a_recipe_of_applications_alone_runs_in_two_languages_at_once(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.csv", rows_of(240))
    recipe = tmp_path / "noria.toml"
    recipe.write_text(f'{HEAD}files = ["rows.csv"]\nways = ["classical"]\n', encoding="utf-8")
    with open_workspace(recipe, None, Silent()) as workspace:
        build_task(workspace, "t")
    ask = open_task(recipe, "t")
    assert [ask(text).labels[0] for text in ("dog", "狗", "soup", "米饭")] == [
        *("animal", "animal", "food", "food")
    ]


def test_twelve_rows_are_enough_to_run(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.csv", rows_of(12))
    recipe = tmp_path / "noria.toml"
    recipe.write_text(f'{HEAD}files = ["rows.csv"]\nways = ["classical"]\n', encoding="utf-8")
    with open_workspace(recipe, None, Silent()) as workspace:
        outcome = run(workspace)
    assert set(outcome.tasks) == {"t"} and outcome.report.stat().st_size > 10_000
    assert not outcome.live_weight_hash and outcome.gate == "not asked"


def test_several_seeds_are_told_as_their_mean_and_the_first_is_served(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.csv", rows_of(240))
    recipe = tmp_path / "noria.toml"
    ways = 'files = ["rows.csv"]\nways = ["classical", "scratch"]\nminutes = 0.1\n'
    recipe.write_text(f"{HEAD}{ways}", encoding="utf-8")
    with open_workspace(recipe, None, Silent()) as workspace:
        once = build_task(workspace, "t").model
    recipe.write_text(f"{HEAD}{ways}seeds = 2\n", encoding="utf-8")
    with open_workspace(recipe, None, Silent()) as workspace:
        twice = build_task(workspace, "t").model
        again = [one.stage for one in workspace.results if not one.reused]
    assert again == ["t.scratch", "t.model"]  # of the first seed nothing is made again
    rows = {row["way"]: row for row in twice.facts["rows"]}
    assert (rows["classical"]["num_trainings"], rows["scratch"]["num_trainings"]) == (1, 2)
    results = [read_result(twice.path / "results" / one) for one in ("scratch", "scratch.seed2")]
    values = [value_of([one.answers], "accuracy").value for one in results]
    assert results[0].made_by.weight_hash != results[1].made_by.weight_hash
    assert [one.made_by.seed for one in results] == [1, 2]
    assert rows["scratch"]["value"] == pytest.approx(sum(values) / 2)
    assert rows["scratch"]["weight_hash"] == results[0].made_by.weight_hash
    assert once.facts["weight_hash"] == twice.facts["weight_hash"]


def test_a_text_with_many_labels_gets_many(tmp_path: Path) -> None:
    singles = rows_of(160)
    both = [
        {"text": f"{a} and {b}", "labels": [la, lb]}
        for (a, la), (b, lb) in zip(singles[::2], singles[1::2], strict=True)
    ]
    rows = [*both, *({"text": text, "labels": [label]} for text, label in singles)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    recipe = tmp_path / "noria.toml"
    recipe.write_text(f'{HEAD}files = ["rows.jsonl"]\nways = ["classical"]\n', encoding="utf-8")
    with open_workspace(recipe, None, Silent()) as workspace:
        made = build_task(workspace, "t")
    assert made.data.facts["many"] and made.model.facts["metric"] == "micro_f1"
    ask = open_task(recipe, "t")
    assert set(ask("dog no 3 and soup no 4").labels) == {"animal", "food"}
    assert ask("cow horse no 9").labels == ("animal",)


def test_rows_with_another_label_for_the_same_text_are_counted_not_hidden(tmp_path: Path) -> None:
    rows = rows_of(120)
    write_rows(tmp_path / "rows.csv", [*rows, (rows[0][0].upper(), "food"), rows[1]])
    recipe = tmp_path / "noria.toml"
    recipe.write_text(f'{HEAD}files = ["rows.csv"]\n', encoding="utf-8")
    with open_workspace(recipe, None, Silent()) as workspace:
        facts = build_task_data(workspace, "t").facts
    assert list(facts["dropped"].values())[:2] == [2, 1]
    assert sum(facts["splits"].values()) == 120


def test_no_text_of_the_test_files_is_trained_on(tmp_path: Path) -> None:
    rows = rows_of(150)
    write_rows(tmp_path / "rows.csv", rows)
    write_rows(tmp_path / "test.csv", rows[:30])
    recipe = tmp_path / "noria.toml"
    files = 'files = ["rows.csv"]\ntest = ["test.csv"]\n'
    recipe.write_text(f"{HEAD}{files}", encoding="utf-8")
    with open_workspace(recipe, None, Silent()) as workspace:
        splits = build_task_data(workspace, "t").facts["splits"]
    assert splits["test"] == 30 and splits["train"] + splits["held_out"] == 120


def examples(gold: list[str], out_of_scope: str = "") -> ClassExamples:
    records = tuple(
        Labelled(text_content(f"text {n}"), (label,), Source("f", n))
        for n, label in enumerate(gold)
    )
    return ClassExamples(records, ("a", "b"), False, out_of_scope)


def sure(right: np.ndarray, gold: list[str]) -> np.ndarray:
    """Probabilities 0.8 for the right class where it is right, else for the wrong one."""
    places = np.array([0 if one == "a" else 1 for one in gold])
    chosen = np.where(right, places, 1 - places)
    found = np.full((len(gold), 2), 0.2)
    found[np.arange(len(gold)), chosen] = 0.8
    return found


def verdict(held: tuple[float, float], test: tuple[float, float]) -> str:
    """Which is served of a baseline and a rival that are so often right."""
    random = np.random.default_rng(0)
    gold = [("a", "b")[n % 2] for n in range(600)]
    splits = examples(gold), examples(gold)
    said = []
    for way, of_held, of_test in zip(("classical", "tuned"), held, test, strict=True):
        sides = [sure(random.random(600) < one, gold) for one in (of_held, of_test)]
        said.append(Said(way, way, sides[0], sides[1]))
    contenders = contenders_of("t", CLASSIFY, said, splits, ("a", "b"), False, join=False)
    return choose(contenders, splits[0], "accuracy", 0.0, 0).served.way


def test_what_is_better_on_held_out_is_served_unless_the_test_shows_it_worse() -> None:
    assert verdict((0.7, 0.9), (0.7, 0.9)) == "tuned"
    assert verdict((0.9, 0.7), (0.7, 0.9)) == "classical"  # the test makes nobody win
    assert verdict((0.7, 0.9), (0.9, 0.7)) == "classical"  # but it can take a victory back
    assert verdict((0.7, 0.75), (0.75, 0.745)) == "tuned"  # no difference seen


def test_ways_that_complete_each_other_speak_together_and_noise_is_left_out() -> None:
    random = np.random.default_rng(0)
    gold = [("a", "b")[n % 2] for n in range(600)]
    splits = examples(gold), examples(gold)
    share = {"classical": 0.75, "scratch": 0.7, "tuned": 0.5}
    said = [
        Said(way, way, *(sure(random.random(600) < right, gold) for _ in splits))
        for way, right in share.items()
    ]
    found = contenders_of("t", CLASSIFY, said, splits, ("a", "b"), False, join=True)
    by_way = {one.way: one for one in found}
    assert [part.way for part in by_way["joined"].description.parts][:2] == ["classical", "scratch"]
    weights = {one.way: one.weight for one in by_way["joined"].description.parts}
    assert weights.get("tuned", 0.0) < 0.1 < min(weights["classical"], weights["scratch"])
    of_test = [splits[1].to_calibrate(by_way[way].test) for way in ("joined", "classical")]
    assert surprise(*of_test[0]) < surprise(*of_test[1])


def test_a_temperature_makes_stated_confidence_true() -> None:
    random = np.random.default_rng(0)
    true = random.dirichlet([1.0, 1.0, 1.0], 4000)
    gold = np.array([random.choice(3, p=row) for row in true])
    too_sure = joined([true], [1.0], 0.4, False)
    temperature = fitted_temperature(too_sure, gold)
    assert temperature == pytest.approx(2.5, rel=0.1)
    assert np.abs(joined([too_sure], [1.0], temperature, False) - true).mean() < 0.01
    odds = random.random((4000, 2))
    has = random.random((4000, 2)) < odds
    assert fitted_temperature(joined([odds], [1.0], 0.5, True), has) == pytest.approx(2, rel=0.15)


def test_the_threshold_keeps_its_promise_and_tells_what_is_out_of_scope() -> None:
    random = np.random.default_rng(1)
    gold = [("a", "b")[n % 2] for n in range(2000)]
    top = random.uniform(0.5, 1.0, 2000)
    right = random.random(2000) < top
    places = np.where(right, [n % 2 for n in range(2000)], [1 - n % 2 for n in range(2000)])
    found = np.stack([np.where(places == 0, top, 1 - top), np.where(places == 1, top, 1 - top)], 1)
    threshold = examples(gold).threshold(found, 0.9)
    assert right[top >= threshold].mean() >= 0.9 and 0.75 < threshold < 0.85
    assert examples(gold).threshold(found, 0.0) == 0.0
    outside = examples(["a"] * 100 + ["oos"] * 20, "oos")
    confident = np.concatenate([np.full(100, 0.9), np.full(20, 0.6)])
    cut = outside.threshold(np.stack([confident, 1 - confident], 1), 0.0)
    assert 0.6 < cut < 0.9
    answers = outside.answers(np.stack([confident, 1 - confident], 1), cut)
    assert isinstance(answers, Classified)
    assert (answers.predicted[:100] == 0).all() and (answers.predicted[100:] == NONE).all()
