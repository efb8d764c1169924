"""Six shapes of example survive the disk, with their source."""

from __future__ import annotations

from pathlib import Path

import pytest

from noria.errors import FormatError
from noria.records import (
    Conversation,
    Document,
    Labelled,
    Message,
    Pair,
    Preference,
    Record,
    Source,
    Span,
    Tagged,
    read_records,
    record_id,
    record_texts,
    text_content,
    write_records,
)

SOURCE = Source("鲁迅/故乡.txt", line=3, byte_start=120, byte_end=240)
RECORDS: list[Record] = [
    Document(text_content("我冒了严寒，回到相隔二千余里"), SOURCE, "故乡"),
    Conversation(
        (Message("user", text_content("Hi?")), Message("assistant", text_content("你好！"))), SOURCE
    ),
    Labelled(text_content("good"), ("positive", "short"), SOURCE),
    Tagged(text_content("Ahab sails"), (Span(0, 4, "PER"),), SOURCE),
    Pair(text_content("one"), text_content("一"), SOURCE),
    Preference(text_content("q"), text_content("a"), text_content("b"), SOURCE),
]


def test_every_shape_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    assert write_records(tmp_path / "r.jsonl", RECORDS) == 6
    assert list(read_records(tmp_path / "r.jsonl")) == RECORDS


def test_the_id_depends_on_words_and_source() -> None:
    first = Document(text_content("a"), Source("f", 1))
    assert record_id(first) == record_id(Document(text_content("a"), Source("f", 1)))
    assert record_id(first) != record_id(Document(text_content("a"), Source("f", 2)))
    assert record_id(first) != record_id(Document(text_content("b"), Source("f", 1)))


def test_texts_come_in_reading_order() -> None:
    assert [len(record_texts(record)) for record in RECORDS] == [1, 2, 1, 1, 2, 3]
    assert record_texts(RECORDS[4]) == ("one", "一")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"shape": "poem", "v": 1}', "shape 'poem'"),
        ('{"shape": "document", "v": 99}', "version 99"),
        ('{"shape": "document", "v": 1, "source": {}}', "wrong fields"),
        ('{"shape": "document"', "r.jsonl:1"),
    ],
)
def test_a_foreign_line_is_a_format_error(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "r.jsonl").write_text(line + "\n")
    with pytest.raises(FormatError, match=message):
        list(read_records(tmp_path / "r.jsonl"))
