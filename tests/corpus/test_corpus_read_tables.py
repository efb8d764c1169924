"""Tables: columns are understood, quotes do not swallow the file, encodings are found."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from corpus_files import CHINESE, ENGLISH
from reading import file_of, read

from noria.corpus.read import Wanted
from noria.corpus.read.columns import understand
from noria.errors import InputError
from noria.records import Labelled, record_texts, shape_of

TALK = [{"from": "human", "value": "a?"}, {"from": "gpt", "value": "b"}]


@pytest.mark.parametrize(
    ("row", "shape", "columns"),
    [
        ({"text": "a", "id": 1}, "document", {"text": "text"}),
        ({"编号": "1", "正文": "话说"}, "document", {"text": "正文"}),
        ({"id": "1", "blob": ENGLISH}, "document", {"text": "blob"}),
        ({"messages": [{"role": "user"}]}, "conversation", {"messages": "messages"}),
        ({"conversations": TALK, "id": 3}, "conversation", {"messages": "conversations"}),
        (
            {"instruction": "a", "input": "b", "output": "c"},
            "conversation",
            {"user": "instruction", "assistant": "output", "context": "input"},
        ),
        ({"问题": "a", "答案": "b"}, "conversation", {"user": "问题", "assistant": "答案"}),
        ({"Prompt": "a", "Completion": "b"}, "conversation", {"user": "Prompt"}),
        ({"text": "a", "label": 1}, "labelled", {"text": "text", "labels": "label"}),
        ({"评论": "好", "情感": "1"}, "labelled", {"text": "评论", "labels": "情感"}),
        ({"source": "a", "target": "b"}, "pair", {"input": "source", "target": "target"}),
        ({"en": "a", "zh_CN": "b"}, "pair", {"input": "en", "target": "zh_CN"}),
        ({"article": "a", "summary": "b"}, "pair", {"input": "article", "target": "summary"}),
        ({"tokens": ["a"], "ner_tags": ["O"]}, "tagged", {"tokens": "tokens"}),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "preference", {"chosen": "chosen"}),
    ],
)
def test_columns_are_understood_by_their_names_and_values(
    row: dict[str, Any], shape: str, columns: dict[str, str]
) -> None:
    found = understand([row], Wanted())
    assert found.shape == shape
    assert columns.items() <= found.columns.items()


def test_the_recipe_overrides_what_was_understood() -> None:
    row = {"text": "a", "label": "b", "note": "c"}
    assert understand([row], Wanted(shape="document")).columns == {"text": "text"}
    found = understand([row], Wanted(columns={"input": "note", "target": "text"}))
    assert (found.shape, found.columns) == ("pair", {"target": "text", "input": "note"})
    with pytest.raises(InputError, match="no column 'x' for text; expected one of: 'text'"):
        understand([row], Wanted(columns={"text": "x"}))


def test_columns_of_no_shape_are_refused_and_not_guessed() -> None:
    with pytest.raises(InputError, match="not known as any shape"):
        understand([{"a": ENGLISH, "b": ENGLISH}], Wanted())
    rows = [{"dialogue": f"text {n}", "topic": f"topic {n}", "summary": "s"} for n in range(50)]
    assert understand(rows, Wanted()).shape == "pair"  # a topic of its own is no label


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"text": "", "label": "a"}, "an empty text under 'text'"),
        ({"text": None, "label": "a"}, "no text under 'text'"),
        ({"text": "x" * 30, "label": None}, "no label under 'label'"),
        ({"label": "a"}, "no text under 'text'"),
        (7, "a number, no object and no text"),
    ],
)
def test_a_wrong_row_is_told_with_value_and_reason_and_the_rest_is_read(
    tmp_path: Path, row: Any, reason: str
) -> None:
    good = {"text": CHINESE, "label": "a"}
    text = "\n".join(json.dumps(one, ensure_ascii=False) for one in (good, row, good))
    records, (lost,) = read(file_of(tmp_path, "a.jsonl", text))
    assert [one.source.line for one in records] == [1, 3]
    assert (lost.line, lost.reason) == (2, reason)
    assert lost.value and json.loads(lost.value) == row


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": [{"role": "tool", "content": "x"}]}, "the role 'tool'"),
        ({"messages": [{"role": "assistant", "content": [{"type": "image_url"}]}]}, "no text"),
        ({"messages": TALK, "label": False}, "not wanted"),
        ({"messages": "hello"}, "no list"),
    ],
)
def test_chats_that_must_not_be_learnt_are_told(
    tmp_path: Path, row: dict[str, Any], reason: str
) -> None:
    rows = [{"messages": TALK}, row, {"messages": ["hi", "ho"]}]
    text = "\n".join(map(json.dumps, rows))
    records, (lost,) = read(file_of(tmp_path, "a.jsonl", text))
    assert [record_texts(one) for one in records] == [("a?", "b"), ("hi", "ho")]
    assert reason in lost.reason


def test_every_shape_of_row_becomes_its_record(tmp_path: Path) -> None:
    rows: dict[str, dict[str, Any]] = {
        "labelled": {"text": ENGLISH, "labels": ["a", "b"]},
        "tagged": {"tokens": ["水", "车"], "tags": ["B-X", "I-X"]},
        "preference": {"prompt": "p", "chosen": [{"role": "assistant", "content": "c"}]}
        | {"rejected": "r"},
        "conversation": {"instruction": "i", "output": "o", "history": '[["a", "b"]]'},
    }
    texts = {
        "labelled": (ENGLISH,),
        "tagged": ("水车",),
        "preference": ("p", "c", "r"),
        "conversation": ("a", "b", "i", "o"),
    }
    for shape, row in rows.items():
        (record,), lost = read(file_of(tmp_path, f"{shape}.jsonl", json.dumps(row)))
        assert not lost
        assert (shape_of(record), record_texts(record)) == (shape, texts[shape])


def test_groups_come_from_a_column_and_name_nobody(tmp_path: Path) -> None:
    text = "author,text\n" + "".join(f"ann@mill.example,{CHINESE}{n}\n" for n in range(3))
    records, _ = read(file_of(tmp_path, "a.csv", text), Wanted(group="author"))
    assert len({one.group for one in records}) == 1
    assert "ann" not in records[0].group


def test_fields_in_quotes_run_over_lines_and_keep_their_bytes(tmp_path: Path) -> None:
    rows = ['"first, with ""quotes""', "", 'and a second line",a', f"{CHINESE},b"]
    file = file_of(tmp_path, "a.csv", "text,label\r\n" + "\r\n".join(rows) + "\r\n")
    records, lost = read(file)
    assert not lost
    assert record_texts(records[0]) == ('first, with "quotes"\r\n\nand a second line',)
    data = file.path.read_bytes()
    source = records[0].source
    assert data[source.byte_start : source.byte_end].decode().startswith('"first')
    assert [one.source.line for one in records] == [2, 5]


def test_a_quote_that_nothing_closes_costs_one_line(tmp_path: Path) -> None:
    lines = [f'"good, {n}",a' for n in range(60)]
    lines[30] = '"broken,a'
    records, (lost,) = read(file_of(tmp_path, "a.csv", "text,label\n" + "\n".join(lines[:31])))
    assert len(records) == 30
    assert (lost.line, lost.value, lost.reason) == (32, '"broken,a', "a quote that nothing closes")


def test_rows_of_another_width_are_told(tmp_path: Path) -> None:
    records, lost = read(file_of(tmp_path, "a.csv", "text,label\na b,1\nx\nc d,2,3\ne f,4\n"))
    assert len(records) == 2
    assert [(one.line, one.reason) for one in lost] == [
        (3, "1 fields where 2 are expected"),
        (4, "3 fields where 2 are expected"),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    text = "\n".join(delimiter.join(row) for row in [("text", "label"), ("a, b", "x"), ("c", "y")])
    text = text.replace("a, b", '"a, b"') if delimiter == "," else text
    records, lost = read(file_of(tmp_path, "a.csv", text))
    assert not lost
    assert [record_texts(one)[0] for one in records] == ["a, b", "c"]


def test_quotes_in_tab_separated_text_are_letters(tmp_path: Path) -> None:
    wanted = Wanted(columns={"text": "2", "labels": "1"})
    text = 'a\t"Stop!" he said\nb\t"whole ""field"""\nc\t"open\n'
    records, lost = read(file_of(tmp_path, "a.tsv", text), wanted)
    assert not lost
    assert [record_texts(one)[0] for one in records] == [
        '"Stop!" he said',
        'whole "field"',
        '"open',
    ]
    assert [one.labels for one in records if isinstance(one, Labelled)] == [("a",), ("b",), ("c",)]


@pytest.mark.parametrize(
    ("text", "encoding", "name"),
    [
        ("水车把河水提起来，河水又推动水车。", "gb18030", "GB18030"),
        ("水車把河水提起來，河水又推動水車，整天不停，人們在河邊看。", "big5", "BIG5"),
        (CHINESE, "utf-16", "UTF-16-LE (by its mark)"),
        (CHINESE + "\n" + ENGLISH, "utf-16-le", "UTF-16-LE (guessed)"),
        (ENGLISH, "utf-16-be", "UTF-16-BE (guessed)"),
        (CHINESE, "utf-8-sig", "UTF-8 (by its mark)"),
        (CHINESE, "utf-32", "UTF-32-LE (by its mark)"),
        ("Die Mühle läuft über den Bach, und der Müller hört süße Töne.", "latin-1", ""),
    ],
)
def test_encodings_are_found_and_said(tmp_path: Path, text: str, encoding: str, name: str) -> None:
    said: list[str] = []
    file = file_of(tmp_path, "a.txt", text.encode(encoding))
    records, lost = read(file, said=said)
    assert not lost
    assert record_texts(records[0]) == (text,)
    assert name in said[0]
    source, data = records[0].source, file.path.read_bytes()
    codec = {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}.get(encoding, encoding)
    assert data[source.byte_start : source.byte_end].decode(codec) == text


def test_the_recipe_names_an_encoding_or_is_told(tmp_path: Path) -> None:
    file = file_of(tmp_path, "a.txt", "水车".encode("gb18030"))
    assert record_texts(read(file, Wanted(encoding="gb18030"))[0][0]) == ("水车",)
    _, (lost,) = read(file, Wanted(encoding="klingon"))
    assert "the encoding 'klingon' is not known" in lost.reason


def test_short_chinese_texts_in_gb18030_are_found(tmp_path: Path) -> None:
    rng = random.Random(1)
    right = 0
    for _ in range(30):
        words = "".join(rng.choices("的是在一不了有和人这中大", k=10)) + CHINESE[:8]
        file = file_of(tmp_path, "a.txt", words.encode("gb18030"))
        records, _ = read(file)
        right += bool(records) and record_texts(records[0]) == (words,)
    assert right >= 29


def test_no_row_vanishes_behind_a_thousand_wrong_ones(tmp_path: Path) -> None:
    good = json.dumps({"text": CHINESE}, ensure_ascii=False)
    records, lost = read(file_of(tmp_path, "a.jsonl", "{\n" * 3000 + good + "\n[\n" + good))
    assert (len(records), len(lost)) == (2, 3001)
    _, lost = read(file_of(tmp_path, "b.jsonl", "{\n" * 3000))
    assert len(lost) == 3000
