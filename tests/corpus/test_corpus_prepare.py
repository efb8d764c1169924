import json
from pathlib import Path
from typing import Any

import pytest

from noria.corpus.prepare import prepare_corpus, requests_of
from noria.corpus.read import Request, Wanted, find_files, read_file
from noria.errors import InputError
from noria.records import (
    Conversation,
    Document,
    Labelled,
    Tagged,
    content_text,
    read_records,
    record_texts,
)
from noria.text_settings import CorpusSettings

SPLITS = ("train", "held_out", "test")


def _write_sources(folder: Path) -> None:
    for n in range(40):
        other = f"Keeper {n} wrote to keeper{n}@light{n}.example on day {n * 7}."
        text = f"{other} The {n * 31} steps of tower {n} were swept."
        text += f"\n\n第{n}天，守灯人擦了第{n * 3}盏灯。"
        (folder / f"{n:02}.txt").write_text(text, encoding="utf-8")
    (folder / "copy.txt").write_bytes((folder / "07.txt").read_bytes())
    (folder / "short.txt").write_text("Hi.", encoding="utf-8")
    lines = [
        {
            "messages": [
                {"role": "user", "content": f"Call me: 138123456{n:02}, boat {n}?"},
                {"role": "assistant", "content": f"Boat {n} sails at {n}."},
            ]
        }
        for n in range(30)
    ]
    text = "\n".join(json.dumps(line) for line in lines)
    (folder / "chat.jsonl").write_text(text, encoding="utf-8")


def _json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _prepare(folder: Path, out: Path, **changes: Any) -> dict[str, Any]:
    documents = find_files(["*.txt"], folder, {})
    chats = find_files(["*.jsonl"], folder, {})
    settings = CorpusSettings(held_out=0.2, test=0.2, **changes)
    return prepare_corpus(requests_of(documents, [], chats), settings, 1, out, lambda *_: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sources")
    _write_sources(path)
    return path


def test_report_accounts_for_every_record(folder: Path, tmp_path: Path) -> None:
    report = _prepare(folder, tmp_path)
    assert report == json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["read"] == {"documents": 42, "conversations": 30}
    assert report["too_short"] == report["exact_duplicates"] == 1
    assert report["identities"] == {"EMAIL": 41, "PHONE": 30}
    kept = sum(report["splits"][name]["records"] for name in SPLITS)
    dropped = _json_lines(tmp_path / "dropped.jsonl")
    reasons = [drop["reason"] for drop in dropped]
    assert kept + len(dropped) == 72
    matrix = report["duplicates_between"]
    assert sum(row["exact"] for row in matrix) == report["exact_duplicates"]
    assert sum(row["near"] for row in matrix) == report["near_duplicates"]
    assert {(row["source"], row["duplicate_of"]) for row in matrix} == {(".", ".")}
    assert reasons.count("contaminated") == report["contaminated"]
    assert reasons.count("near duplicate") == report["near_duplicates"]
    (copy,) = [drop for drop in dropped if drop["reason"] == "exact duplicate"]
    assert (copy["source"]["file"], copy["duplicate_of"]["file"]) == ("copy.txt", "07.txt")


def test_splits_hold_what_the_report_says_and_no_identity(folder: Path, tmp_path: Path) -> None:
    report = _prepare(folder, tmp_path)
    for name in SPLITS:
        records = list(read_records(tmp_path / f"{name}.jsonl"))
        sizes = report["splits"][name]
        assert len(records) == sizes["records"] > 0
        assert {type(record) for record in records} == {Document, Conversation}
        text = "\n".join("\n".join(record_texts(record)) for record in records)
        assert len(text.encode()) == sizes["bytes"] + len(records) - 1
        assert len(text) == sizes["characters"] + len(records) - 1
        assert "@" not in text
        assert "138123456" not in text


def test_the_same_input_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        _prepare(folder, tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == [
        *("dropped.jsonl", "held_out.jsonl", "quarantine.jsonl", "report.json"),
        *("test.jsonl", "train.jsonl"),
    ]
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_identities_are_kept_when_the_recipe_says_so(folder: Path, tmp_path: Path) -> None:
    assert _prepare(folder, tmp_path, identities="keep")["identities"] == {}
    assert "keeper7@light7.example" in "".join(
        (tmp_path / f"{name}.jsonl").read_text(encoding="utf-8") for name in SPLITS
    )


def test_sources_of_unchanged_documents_point_at_their_bytes(folder: Path, tmp_path: Path) -> None:
    _prepare(folder, tmp_path, identities="keep")
    for record in read_records(tmp_path / "train.jsonl"):
        if isinstance(record, Document):
            source = record.source
            data = (folder / source.file).read_bytes()[source.byte_start : source.byte_end]
            assert data.decode() == content_text(record.content)


def test_few_conversations_beside_documents_are_trained_on(folder: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text("\n".join((folder / "chat.jsonl").read_text().split("\n")[:2]))
    settings = CorpusSettings(held_out=0.2, test=0.2)
    documents, chats = find_files(["*.txt"], folder, {}), find_files(["few.jsonl"], tmp_path, {})
    prepare_corpus(requests_of(documents, [], chats), settings, 1, tmp_path, lambda *_: None)
    train = list(read_records(tmp_path / "train.jsonl"))
    assert sum(isinstance(record, Conversation) for record in train) == 2


def test_progress_reaches_its_total_in_every_step(folder: Path, tmp_path: Path) -> None:
    last: dict[str, tuple[int, int]] = {}
    documents = find_files(["*.txt"], folder, {})
    prepare_corpus(
        requests_of(documents, [], []),
        CorpusSettings(),
        1,
        tmp_path,
        lambda step, done, total: last.__setitem__(step, (done, total)),
    )
    assert list(last) == ["read", "deduplicate", "decontaminate", "write"]
    assert all(done == total for done, total in last.values())


@pytest.mark.parametrize("text", ["One text alone that is long enough.", "too short"])
def test_a_corpus_that_can_not_be_split_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    files = find_files(["a.txt"], tmp_path, {})
    with pytest.raises(InputError, match="at least 3"):
        prepare_corpus(
            requests_of(files, [], []), CorpusSettings(), 1, tmp_path / "out", lambda *_: None
        )


def test_nothing_of_an_evaluation_set_is_trained_on(folder: Path, tmp_path: Path) -> None:
    quiz = tmp_path / "quiz.txt"
    leaked = "The 465 steps of tower 15 were swept. 第15天，守灯人擦了第45盏灯。"
    quiz.write_text(leaked, encoding="utf-8")
    (file,) = find_files(["quiz.txt"], tmp_path, {})
    evaluation = [
        one
        for one in read_file(file, Wanted(shape="document"), lambda shape, how: None)
        if isinstance(one, Document)
    ]
    documents = find_files(["*.txt"], folder, {})
    settings = CorpusSettings(held_out=0.1, test=0.1, near_duplicates=False)
    report = prepare_corpus(
        requests_of(documents, [], []), settings, 1, tmp_path / "out", lambda *_: None, evaluation
    )
    train = (tmp_path / "out" / "train.jsonl").read_text(encoding="utf-8")
    assert "465 steps" not in train
    (row,) = [row for row in report["contamination"] if row["set"] == "quiz.txt"]
    assert (row["records"], row["too_short_to_look_for"]) == (1, 0)
    (example,) = row["examples"]
    assert example["source"]["file"] == "15.txt"
    assert example["passage"].startswith("the 465 steps of tower 15 were swept")
    (drop,) = [one for one in _json_lines(tmp_path / "out" / "dropped.jsonl") if "set" in one]
    assert (drop["set"], drop["measured"]["file"]) == ("quiz.txt", "quiz.txt")


def test_what_can_not_be_read_is_counted_shown_and_without_identities(
    folder: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    lines = ['{"messages": "ask keeper@light.example"}', "{", "", '{"messages": []}']
    (bad / "chat.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (bad / "torn.txt").write_bytes(b"\x00\x01\x02\x03")
    documents = [*find_files(["*.txt"], folder, {}), *find_files(["*.txt"], bad, {})]
    chats = [*find_files(["*.jsonl"], folder, {}), *find_files(["*.jsonl"], bad, {})]
    out = tmp_path / "out"
    requests = requests_of(documents, [], chats)
    report = prepare_corpus(requests, CorpusSettings(), 1, out, lambda *_: None)
    lost = _json_lines(out / "quarantine.jsonl")
    assert report["quarantined"]["total"] == len(lost) == 4
    assert sum(one["count"] for one in report["quarantined"]["reasons"].values()) == 4
    assert [(one["file"], one["line"]) for one in lost] == [
        ("torn.txt", 0),
        ("chat.jsonl", 1),
        ("chat.jsonl", 2),
        ("chat.jsonl", 4),
    ]
    assert "[EMAIL]" in lost[1]["value"] and "keeper@" not in json.dumps(report)
    (text,) = [one for one in report["understood"] if one["as"].startswith("text")]
    assert (text["files"], text["records"], text["lost"]) == (42, 42, 0)


def test_other_shapes_are_stored_apart_and_never_trained_on(folder: Path, tmp_path: Path) -> None:
    rows = ["text,label"] + [
        f'"Boat {n} of keeper{n}@light.example sails at {n} past the {n * 7} lights.",'
        + ("Apple" if n % 3 else f"keeper{n}@light.example")
        for n in range(40)
    ]
    (tmp_path / "a.csv").write_text("\n".join(rows), encoding="utf-8")
    sentences = [f"保{n} B-PER\n罗{n} I-PER\nwrote O\nmany O\n" for n in range(20)]
    (tmp_path / "a.conll").write_text("\n".join(sentences), encoding="utf-8")
    files = find_files(["a.csv", "a.conll"], tmp_path, {})
    out = tmp_path / "out"
    report = prepare_corpus(
        requests_of(
            find_files(["*.txt"], folder, {}), [], [], [Request(file, Wanted()) for file in files]
        ),
        CorpusSettings(near_duplicates=False),
        1,
        out,
        lambda *_: None,
    )
    assert report["read"] == {"documents": 42, "conversations": 0, "labelled": 40, "tagged": 20}
    for name in SPLITS:
        assert all(isinstance(one, Document) for one in read_records(out / f"{name}.jsonl"))
        labelled = list(read_records(out / "labelled" / f"{name}.jsonl"))
        assert labelled and all(isinstance(one, Labelled) for one in labelled)
        assert all("[EMAIL]" in text for one in labelled for text in record_texts(one))
        assert {one.labels for one in labelled if isinstance(one, Labelled)} <= {
            ("Apple",),
            ("[EMAIL]",),
        }
    (tagged, *_) = read_records(out / "tagged" / "train.jsonl")
    assert isinstance(tagged, Tagged)
    ((start, end, tag),) = [(span.start, span.end, span.tag) for span in tagged.spans]
    assert content_text(tagged.content)[start:end].startswith("保") and tag == "PER"


def test_a_corpus_of_other_shapes_alone_is_refused_with_what_was_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nan old boat,1\na new one,2\n", encoding="utf-8")
    requests = [Request(file, Wanted()) for file in find_files(["a.csv"], tmp_path, {})]
    with pytest.raises(InputError, match="no conversation was read, but 2 labelled"):
        prepare_corpus(requests, CorpusSettings(), 1, tmp_path, lambda *_: None)
