from pathlib import Path

import pytest

from noria.corpus.prepare import prepare_corpus, requests_of
from noria.corpus.read import find_files
from noria.corpus.split import split_records, split_rule
from noria.errors import InputError, RecipeError, UsageError
from noria.recipe_file import load_recipe
from noria.records import Document, Source, content_text, read_records, text_content
from noria.text_settings import CorpusSettings

BY_TIME = CorpusSettings(split="time", held_out_from="2026-07-01", test_from="2026-10-01")


def _document(text: str, file: str) -> Document:
    return Document(text_content(text), Source(file), group=file)


def test_a_group_stays_where_it_is_alone_and_among_thousands() -> None:
    settings = CorpusSettings(split="group", held_out=0.2, test=0.2)
    rule = split_rule(settings, seed=1)
    assert rule is not None
    records = [_document(f"text {n}", f"{n}.txt") for n in range(2000)]
    few = split_records(records[:60], settings, seed=1)
    many = split_records(records[::-1], settings, seed=1)
    for name, kept in few.items():
        assert kept and all(record in many[name] and rule(record) == name for record in kept)
    assert len(many["held_out"]) == pytest.approx(400, abs=60)
    assert len(many["test"]) == pytest.approx(400, abs=60)


def test_by_record_a_single_file_is_dealt_out() -> None:
    settings = CorpusSettings(split="record", held_out=0.2, test=0.2)
    splits = split_records([_document(f"text {n}", "a.txt") for n in range(100)], settings, 1)
    assert all(splits.values())


def test_by_time_later_files_are_measured_on() -> None:
    dates = ["2026-06-30", "2026-07-01", "2026-09-30", "2026-10-01", "2025-12-31"]
    splits = split_records([_document(d, f"log/{d}-a.txt") for d in dates], BY_TIME, 1)
    found = {name: [content_text(one.content) for one in kept] for name, kept in splits.items()}
    assert found == {
        "train": ["2026-06-30", "2025-12-31"],
        "held_out": ["2026-07-01", "2026-09-30"],
        "test": ["2026-10-01"],
    }


def test_a_file_without_a_date_can_not_be_split_by_time() -> None:
    with pytest.raises(InputError, match=r"notes\.txt has no date"):
        split_records([_document("a", "notes.txt")], BY_TIME, 1)


@pytest.mark.parametrize("dates", [("", ""), ("2026-07-01", ""), ("2026-10-01", "2026-07-01")])
def test_a_split_by_time_wants_two_dates_in_order(dates: tuple[str, str]) -> None:
    settings = CorpusSettings(split="time", held_out_from=dates[0], test_from=dates[1])
    with pytest.raises(UsageError, match="two dates"):
        split_rule(settings, 1)


def test_a_date_that_is_none_is_a_mistake_of_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "noria.toml"
    path.write_text('name = "a"\n[corpus]\ndocuments = ["*"]\ntest_from = "in spring"\n')
    with pytest.raises(RecipeError, match="2026-10-01"):
        load_recipe(path)


def test_a_rule_that_leaves_a_split_empty_is_refused_and_not_bent() -> None:
    settings = CorpusSettings(split="group")
    with pytest.raises(InputError, match="leaves nothing for held_out and test"):
        split_records([_document(f"text {n}", "a.txt") for n in range(50)], settings, seed=1)


def _texts(folder: Path, split: str) -> set[str]:
    records = read_records(folder / f"{split}.jsonl")
    return {content_text(one.content) for one in records if isinstance(one, Document)}


def test_a_copy_in_a_new_training_file_does_not_pull_text_out_of_what_is_held_out(
    tmp_path: Path,
) -> None:
    settings = CorpusSettings(split="group", held_out=0.3, test=0.2, identities="keep")
    for n in range(20):
        words = " ".join(f"word{n}x{k}" for k in range(30))
        (tmp_path / f"m{n:02}.txt").write_text(words, encoding="utf-8")
    prepare_corpus(
        requests_of(find_files(["*.txt"], tmp_path, {}), [], []),
        settings,
        1,
        tmp_path / "a",
        lambda *_: None,
    )
    held_out = _texts(tmp_path / "a", "held_out")
    for n in range(20):  # copies and near-copies of everything, in files that come first
        text = (tmp_path / f"m{n:02}.txt").read_text(encoding="utf-8")
        (tmp_path / f"a{n:02}.txt").write_text(text + (" more" if n % 2 else ""), encoding="utf-8")
    report = prepare_corpus(
        requests_of(find_files(["*.txt"], tmp_path, {}), [], []),
        settings,
        1,
        tmp_path / "b",
        lambda *_: None,
    )
    assert held_out
    train = " ".join(_texts(tmp_path / "b", "train"))
    assert not any(text.split()[0] in train.split() for text in held_out)
    rows = report["strata"]
    assert {(row["source"], row["language"]) for row in rows} == {(".", "latin")}
    for split, part in report["splits"].items():
        assert sum(row[split] for row in rows) == part["records"]
