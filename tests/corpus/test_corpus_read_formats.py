"""Arrays, dialogues and tagged text become records that know where they stand."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest

from noria.artifacts import file_digest
from noria.corpus.read import SourceFile, read_conversations, read_documents, read_tagged_text
from noria.corpus.read.text import MAX_CHARACTERS
from noria.errors import InputError, MissingExtra
from noria.records import Conversation, content_text


def _file(tmp_path: Path, name: str, text: str) -> SourceFile:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return SourceFile(name, path, file_digest(path))


def _said(conversation: Conversation) -> list[tuple[str, str]]:
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
        documents = list(read_documents(file))
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
    found = list(read_conversations(_file(tmp_path, "a.json", json.dumps(rows))))
    assert [_said(one) for one in found] == [
        [("user", "翻译\n\n你好"), ("assistant", "Hello")],
        [("user", "Say hi"), ("assistant", "Hi")],
        [("user", "Say ho"), ("assistant", "Ho")],
    ]
    assert len({one.group for one in found}) == 3


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.json", '{"a": 1}', "a.json:1: no JSON array"),
        ("a.json", '["a"\n"b"]', "a.json:2: no ',' or ']'"),
        ("a.json", '["a",\n{]', "a.json:2:"),
        ("a.json", '["a"] tail', "text behind the array"),
        ("a.json", '["a",\n3]', "a.json:2: element 1 is int"),
        ("a.json", "[" * 100_000, "a.json:1:"),
    ],
)
def test_arrays_that_are_none_are_refused_with_their_line(
    tmp_path: Path, name: str, text: str, says: str
) -> None:
    with pytest.raises(InputError, match=says.replace("[", r"\[")):
        list(read_documents(_file(tmp_path, name, text)))


@pytest.mark.parametrize(
    "row", [{"instruction": "x"}, {"instruction": "x", "output": " "}, "x", {"output": "y"}]
)
def test_an_instruction_without_an_answer_is_refused(tmp_path: Path, row: Any) -> None:
    good = {"instruction": "a", "output": "b"}
    file = _file(tmp_path, "a.json", json.dumps([good, row], indent=0))
    with pytest.raises(InputError, match="element 1 has no text under instruction and output"):
        list(read_conversations(file))


def test_dialogues_take_turns_and_a_question_without_answer_is_left_out(tmp_path: Path) -> None:
    text = (
        "categories:\n- x\nconversations:\n- - Hi\n  - 'Ho: there'\n  - Hm\n- - alone\n"
        "- - 4\n  - 5\n"
    )
    found = list(read_conversations(_file(tmp_path, "a.yml", text)))
    assert [_said(one) for one in found] == [
        [("user", "Hi"), ("assistant", "Ho: there")],
        [("user", "4"), ("assistant", "5")],
    ]
    assert [one.source.line for one in found] == [4, 8]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "a.yml:1"),
        ("a: 1\n", "no list of conversations"),
        ("conversations:\n- - &a Hi\n  - *a\n", "a.yml:3: an alias"),
        ("conversations:\n- - Hi\n  - Ho\n- Hm\n", "a.yml:4: a scalar where a dialogue stands"),
        ("conversations:\n- - Hi\n  - [1]\n", "a.yml:3: a sequence where a text stands"),
        (
            "conversations:\n- - !!python/object/apply:os.system [ls]\n  - b\n",
            "a.yml:2: a sequence",
        ),
        ("[" * 5_000, "a.yml:1"),
    ],
)
def test_yaml_that_is_no_list_of_dialogues_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        list(read_conversations(_file(tmp_path, "a.yml", text)))


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
        list(read_conversations(_file(tmp_path, "a.yml", "conversations:\n- - a\n  - b\n")))


def test_tagged_text_is_joined_without_its_tags(tmp_path: Path) -> None:
    line = "[中国/ns  人民/n  银行/n]nt  ３１/m  日/q  宣布/v  ，/w  1/2/m  。/w"
    plain = "中国人民银行３１日宣布，1/2。"
    file = _file(tmp_path, "a.txt", "\n".join([line, ""] * 400))
    documents = list(read_tagged_text(file))
    texts = [content_text(one.content) for one in documents]
    assert "\n".join(texts).split("\n") == [plain] * 400
    assert all(len(text) <= MAX_CHARACTERS for text in texts)
    data = file.path.read_bytes()
    for one, text in zip(documents, texts, strict=True):
        slice_ = data[one.source.byte_start : one.source.byte_end].decode()
        assert slice_.count("宣布/v") == text.count("宣布")
        assert one.source.line == data[: one.source.byte_start].count(b"\n") + 1
    assert len({one.group for one in documents}) == -(-len(documents) // 8)


def test_plain_text_under_tagged_is_refused_with_its_line(tmp_path: Path) -> None:
    file = _file(tmp_path, "a.txt", "中国/ns\n中国 人民/n\n")
    with pytest.raises(InputError, match=r"a\.txt:2: '中国' has no tag"):
        list(read_tagged_text(file))
