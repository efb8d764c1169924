"""Arrays, dialogues and tagged text become records that know where they stand."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest
from reading import file_of, read

from noria.corpus.read import SourceFile, Wanted
from noria.corpus.read.pieces import MAX_CHARACTERS
from noria.errors import MissingExtra
from noria.records import Conversation, Document, Record, content_text

CHAT = Wanted(shape="conversation")
TAGGED = Wanted(shape="document", format="tagged")


def _file(tmp_path: Path, name: str, text: str) -> SourceFile:
    return file_of(tmp_path, name, text)


def _documents(file: SourceFile, wanted: Wanted | None = None) -> list[Document]:
    records, lost = read(file, wanted)
    assert not lost
    return [one for one in records if isinstance(one, Document)]


def _said(conversation: Record) -> list[tuple[str, str]]:
    assert isinstance(conversation, Conversation)
    return [(one.role, content_text(one.content)) for one in conversation.messages]


def test_an_array_of_texts_is_a_document_an_element_and_knows_its_lines(tmp_path: Path) -> None:
    texts = [
        "第一回 宴桃园豪杰三结义\n" + "话说天下大势，分久必合，合久必分。" * 200,
        "Short \\ one.",
    ]
    for indent in (None, 1):
        file = _file(
            tmp_path, "a.json", json.dumps(texts, ensure_ascii=indent is None, indent=indent)
        )
        documents = _documents(file)
        joined = "".join(content_text(one.content) for one in documents if one.group == "a.json#0")
        assert joined == texts[0].replace("\n", "") or joined == texts[0]
        assert all(len(content_text(one.content)) <= MAX_CHARACTERS for one in documents)
        data = file.path.read_bytes()
        for one in documents:
            element = json.loads(data[one.source.byte_start : one.source.byte_end])
            assert content_text(one.content) in element
            assert one.source.line == data[: one.source.byte_start].count(b"\n") + 1
        assert content_text(documents[-1].content) == texts[1]


def test_instructions_become_questions_and_answers(tmp_path: Path) -> None:
    rows = [
        {"instruction": "翻译", "input": "你好", "output": "Hello"},
        {"instruction": "Say hi", "input": "", "output": "Hi"},
        {"instruction": "Say ho", "output": "Ho", "history": []},
    ]
    found, _ = read(_file(tmp_path, "a.json", json.dumps(rows)), CHAT)
    assert [_said(one) for one in found] == [
        [("user", "翻译\n\n你好"), ("assistant", "Hello")],
        [("user", "Say hi"), ("assistant", "Hi")],
        [("user", "Say ho"), ("assistant", "Ho")],
    ]
    assert len({one.group for one in found}) == 3


@pytest.mark.parametrize(
    ("text", "line", "says", "num_records"),
    [
        ('{"a": 1}', 0, "the columns 'a' are not known", 0),
        ('["a"\n"b"]', 2, "no ',' or ']' after an element; what follows", 1),
        ('["a",\n{]', 2, "no JSON", 1),
        ('["a"] tail', 1, "text behind the array", 1),
        ('["a",\n3,\n"c"]', 2, "a number, no object and no text", 2),
        ('["a", {"a": NaN}]', 1, "NaN is no JSON", 1),
        ('[{"text": "a", "text": "b"}]', 1, "the key 'text' stands twice", 0),
        ('["\\ud800"]', 1, "half a surrogate pair", 0),
        ("[" * 100_000, 1, "nested too deeply", 0),
        ("7", 0, "a number, no object", 0),
    ],
)
def test_wrong_elements_of_arrays_are_in_quarantine_with_their_line(
    tmp_path: Path, text: str, line: int, says: str, num_records: int
) -> None:
    records, (lost,) = read(_file(tmp_path, "a.json", text))
    assert len(records) == num_records
    assert lost.line == line
    assert says in lost.reason


@pytest.mark.parametrize(
    "row", [{"instruction": "x"}, {"instruction": "x", "output": " "}, "x", {"output": "y"}]
)
def test_an_instruction_without_an_answer_is_refused(tmp_path: Path, row: Any) -> None:
    good = {"instruction": "a", "output": "b"}
    file = _file(tmp_path, "a.json", json.dumps([good, row, good], indent=0))
    records, (lost,) = read(file, CHAT)
    assert len(records) == 2
    assert lost.line == 6


def test_dialogues_take_turns_and_a_question_without_answer_is_left_out(tmp_path: Path) -> None:
    text = (
        "categories:\n- x\nconversations:\n- - Hi\n  - 'Ho: there'\n  - Hm\n- - alone\n"
        "- - 4\n  - 5\n"
    )
    found, lost = read(_file(tmp_path, "a.yml", text), CHAT)
    assert [_said(one) for one in found] == [
        [("user", "Hi"), ("assistant", "Ho: there")],
        [("user", "4"), ("assistant", "5")],
    ]
    assert [one.source.line for one in found] == [4, 8]
    assert [(one.line, one.value) for one in lost] == [(4, "Hm"), (7, "alone")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "line 1"),
        ("a: 1\n", "no list of conversations"),
        ("conversations:\n- - &a Hi\n  - *a\n", "line 3: an alias"),
        ("conversations:\n- - Hi\n  - Ho\n- Hm\n", "a scalar where a dialogue stands"),
        ("conversations:\n- - Hi\n  - [1]\n", "a sequence where a text stands in line 3"),
        (
            "conversations:\n- - !!python/object/apply:os.system [ls]\n  - b\n",
            "a sequence where a text stands in line 2",
        ),
        ("[" * 5_000, "line 1"),
    ],
)
def test_yaml_that_is_no_dialogue_is_in_quarantine(tmp_path: Path, text: str, says: str) -> None:
    _, (lost,) = read(_file(tmp_path, "a.yml", text), CHAT)
    assert says in lost.reason


def test_without_pyyaml_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name == "yaml":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingExtra, match=r"noria\[data\]"):
        read(_file(tmp_path, "a.yml", "conversations:\n- - a\n  - b\n"), CHAT)


def test_tagged_text_is_joined_without_its_tags(tmp_path: Path) -> None:
    line = "[中国/ns  人民/n  银行/n]nt  ３１/m  日/q  宣布/v  ，/w  1/2/m  。/w"
    plain = "中国人民银行３１日宣布，1/2。"
    file = _file(tmp_path, "a.txt", "\n".join([line, ""] * 400))
    documents = _documents(file, TAGGED)
    texts = [content_text(one.content) for one in documents]
    assert "\n".join(texts).split("\n") == [plain] * 400
    assert all(len(text) <= MAX_CHARACTERS for text in texts)
    data = file.path.read_bytes()
    for one, text in zip(documents, texts, strict=True):
        slice_ = data[one.source.byte_start : one.source.byte_end].decode()
        assert slice_.count("宣布/v") == text.count("宣布")
        assert one.source.line == data[: one.source.byte_start].count(b"\n") + 1
    assert len({one.group for one in documents}) == -(-len(documents) // 8)


def test_plain_text_under_tagged_is_in_quarantine_with_its_line(tmp_path: Path) -> None:
    file = _file(tmp_path, "a.txt", "中国/ns\n中国 人民/n\n")
    records, (lost,) = read(file, TAGGED)
    assert len(records) == 1
    assert (lost.line, lost.value) == (2, "中国")
    assert "without a tag" in lost.reason
