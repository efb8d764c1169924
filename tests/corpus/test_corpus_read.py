import json
from pathlib import Path

import pytest
from reading import file_of, read

from noria.corpus.read import SourceFile, Wanted, find_files, lines
from noria.corpus.read.pieces import MAX_CHARACTERS
from noria.errors import InputError
from noria.records import Conversation, Document, content_text

CHAT = Wanted(shape="conversation")


def _file(tmp_path: Path, data: bytes | str, name: str = "a.txt") -> SourceFile:
    return file_of(tmp_path, name, data)


def _documents(file: SourceFile) -> list[Document]:
    records, lost = read(file)
    assert not lost
    return [one for one in records if isinstance(one, Document)]


def _texts(file: SourceFile) -> list[str]:
    return [content_text(document.content) for document in _documents(file)]


def _check_sources(file: SourceFile) -> None:
    data = file.path.read_bytes()
    for document in _documents(file):
        source = document.source
        text = content_text(document.content)
        assert data[source.byte_start : source.byte_end].decode() == text
        assert source.line == data[: source.byte_start].count(b"\n") + 1
        assert source.file == document.group == file.name
        assert text == text.strip() != ""
        assert len(text) <= MAX_CHARACTERS


def test_short_paragraphs_are_joined_and_sources_are_exact(tmp_path: Path) -> None:
    paragraphs = [f"第{n}段。The harbour is quiet.\nSecond line." for n in range(200)]
    file = _file(tmp_path, "\r\n \r\n".join(paragraphs))
    _check_sources(file)
    texts = _texts(file)
    assert 3 <= len(texts) <= 6
    assert sum(text.count("Second line.") for text in texts) == 200
    assert all(text.startswith("第") for text in texts)


def test_one_long_line_is_cut_at_sentence_ends(tmp_path: Path) -> None:
    sentence = "Mr. Smith of the U.S. Senate said to Dr. Jones: the sum of 1.5 million is due. "
    file = _file(tmp_path, sentence * 300)
    _check_sources(file)
    assert all(text.endswith("is due.") for text in _texts(file))


def test_chinese_is_cut_at_sentence_ends_without_spaces(tmp_path: Path) -> None:
    file = _file(tmp_path, "他说：“天快黑了，我们走吧！”大家都同意。" * 300)
    _check_sources(file)
    assert all(text.endswith(("。", "！”")) for text in _texts(file))
    assert "".join(_texts(file)) == file.path.read_text(encoding="utf-8")


def test_text_without_any_end_is_cut_at_spaces_or_anywhere(tmp_path: Path) -> None:
    words = _file(tmp_path, "word " * 2000, "words.txt")
    solid = _file(tmp_path, "e\u0301" * 5000, "solid.txt")
    for file in (words, solid):
        _check_sources(file)
    assert all(text.endswith("word") for text in _texts(words))
    assert not any(text.startswith("\u0301") for text in _texts(solid))


def test_byte_order_mark_is_accepted_and_counted(tmp_path: Path) -> None:
    file = _file(tmp_path, b"\xef\xbb\xbfHello.\n")
    (document,) = _documents(file)
    assert content_text(document.content) == "Hello."
    assert (document.source.byte_start, document.source.byte_end) == (3, 9)


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b"", 0, "empty"),
        (b" \n\t\n", 0, "empty"),
        (b"\xef\xbb\xbf", 0, "empty"),
        (b"\x00\x01\x02\x03PK\x03\x04", 0, "binary"),
        (b"one\n" * 100 + b"tw\x00\n", 101, "a NUL byte"),
        ("好\n".encode() * 3 + b"tw\xff\n", 4, "not UTF-8"),
        ("好\n".encode() * 3 + b"\xed\xa0\x80", 4, "not UTF-8"),  # half a surrogate pair
    ],
)
def test_what_is_no_text_is_in_quarantine_with_its_line(
    tmp_path: Path, data: bytes, line: int, reason: str
) -> None:
    _, (lost,) = read(_file(tmp_path, data))
    assert (lost.file, lost.line) == ("a.txt", line)
    assert reason in lost.reason


def test_a_wrong_line_parts_the_text_around_it_and_places_stay_exact(tmp_path: Path) -> None:
    file = _file(tmp_path, "前面。\n后".encode() + b"\xff\xfe\n" + "中间。\n\n尾。".encode())
    records, (lost,) = read(file)
    data = file.path.read_bytes()
    places = [(one.source.byte_start, one.source.byte_end) for one in records]
    assert [data[start:end].decode() for start, end in places] == ["前面。", "中间。\n\n尾。"]
    assert [one.source.line for one in records] == [1, 3]
    assert lost.line == 2


def test_blocks_leave_no_trace_in_the_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "".join(
        f"第{n}句。The {n}th sentence of it is here.{chr(10) * (n % 7 % 3)}" for n in range(3000)
    )
    file = _file(tmp_path, text)
    whole = _documents(file)
    for size in (100, 1000, 7001):
        monkeypatch.setattr(lines, "BLOCK_BYTES", size)
        assert _documents(file) == whole


def test_globs_find_files_once_in_order_with_stable_names(tmp_path: Path) -> None:
    recipe, package = tmp_path / "recipe", tmp_path / "package"
    for path in (
        recipe / "b.txt",
        recipe / "docs/a.txt",
        recipe / ".git/c.txt",
        package / "d/e.txt",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    files = find_files(["**/*.txt", "b.txt", "package:speech/d/*.txt"], recipe, {"speech": package})
    assert [file.name for file in files] == ["b.txt", "docs/a.txt", "package:speech/d/e.txt"]
    assert all(len(file.sha256) == 64 for file in files)
    (absolute,) = find_files([str(package / "d/*.txt")], recipe, {})
    assert absolute.path == package / "d/e.txt"
    (above,) = find_files(["../package/d/e.txt"], recipe, {})
    assert above.path.read_text() == "e.txt"


@pytest.mark.parametrize(
    "glob",
    [
        "none/*.txt",
        "missing.txt",
        "docs",
        "docs/",
        "package:x/a.txt",
        "package:p/../b.txt",
        "package:p",
    ],
)
def test_globs_that_match_nothing_are_refused(tmp_path: Path, glob: str) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "b.txt").write_text("b")
    with pytest.raises(InputError, match="expected"):
        find_files([glob], tmp_path, {"p": tmp_path / "docs"})


def test_a_file_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a\udcff.txt").write_text("text")
    with pytest.raises(InputError, match="rename"):
        find_files(["*.txt"], tmp_path, {})


def _line(*turns: tuple[str, str]) -> str:
    messages = [{"role": role, "content": content} for role, content in turns]
    return json.dumps({"messages": messages, "id": 7}, ensure_ascii=False)


def test_conversations_keep_turns_line_and_bytes(tmp_path: Path) -> None:
    first = _line(("user", "灯亮了吗？"), ("assistant", "亮了。"))
    second = _line(("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"))
    file = _file(tmp_path, f"\ufeff{first}\r\n\n{second}", "chat.jsonl")
    (one, two), _ = read(file, CHAT)
    assert isinstance(one, Conversation) and isinstance(two, Conversation)
    data = file.path.read_bytes()
    for chat, line in ((one, first), (two, second)):
        found = data[chat.source.byte_start : chat.source.byte_end].decode()
        assert json.loads(found) == json.loads(line)
    assert [message.role for message in two.messages] == ["system", "user", "assistant"]
    assert (one.source.line, two.source.line) == (1, 3)
    assert one.group != two.group


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"messages": []}',
        '{"messages": [1]}',
        '{"messages": [{"role": "robot", "content": "x"}]}',
        '{"messages": [{"role": "assistant", "content": null}]}',
        '{"messages": [{"role": "user", "content": "no answer"}]}',
        "[" * 100_000,
    ],
)
def test_malformed_conversations_are_in_quarantine_with_their_line(
    tmp_path: Path, line: str
) -> None:
    good = _line(("user", "a"), ("assistant", "b"))
    file = _file(tmp_path, f"{good}\n{line}\n{good}\n", "chat.jsonl")
    records, (lost,) = read(file, CHAT)
    assert [one.source.line for one in records] == [1, 3]
    assert (lost.file, lost.line, lost.value[:5]) == ("chat.jsonl", 2, line[:5])
