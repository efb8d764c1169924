"""Every format gives the texts that were written into it, with their places."""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from corpus_files import CHAT, CHINESE, ENGLISH, FILES, PO, page, parquet_of, pdf, tar_of, zip_of
from reading import file_of, read

from noria.corpus.read import SourceFile, Wanted, find_files, lines
from noria.corpus.read.formats import FORMATS
from noria.errors import InputError
from noria.records import Pair, Tagged, content_text, record_texts, shape_of
from noria.text_settings import FORMATS as NAMED_FORMATS


def _file(folder: Path, name: str) -> SourceFile:
    return file_of(folder, name, FILES[name])


def _texts(folder: Path, name: str) -> list[tuple[str, ...]]:
    return [record_texts(one) for one in read(_file(folder, name))[0]]


def test_the_recipe_may_name_every_format_and_no_other() -> None:
    assert set(NAMED_FORMATS) == set(FORMATS)


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_format_gives_records_and_says_what_it_understood(tmp_path: Path, name: str) -> None:
    said: list[str] = []
    records, _ = read(_file(tmp_path, name), said=said)
    assert said
    assert {shape_of(one) for one in records} == {said[0].split(":")[0]}
    texts = "\n".join(text for one in records for text in record_texts(one))
    assert any(text in texts for text in (ENGLISH, CHINESE, "wheel", "水车"))
    assert all(one.source.file.startswith(name) for one in records)


def test_pages_give_their_content_without_navigation(tmp_path: Path) -> None:
    ((text,),) = _texts(tmp_path, "a.html")
    assert ENGLISH in text and CHINESE in text
    assert not any(word in text for word in ("Home", "Shop", "Imprint", "<"))


def test_a_page_is_read_in_the_encoding_that_it_declares(tmp_path: Path) -> None:
    text = page(CHINESE).replace("<head>", '<head><meta charset="gb2312">')
    records, lost = read(file_of(tmp_path, "a.html", text.encode("gb18030")))
    assert not lost
    assert CHINESE in record_texts(records[0])[0]


def test_word_files_lose_what_was_deleted_and_nothing_else(tmp_path: Path) -> None:
    assert _texts(tmp_path, "a.docx") == [(f"{ENGLISH}\n\n{CHINESE}",)]


def test_books_are_read_in_the_order_of_their_spine(tmp_path: Path) -> None:
    texts = [text for (text,) in _texts(tmp_path, "a.epub")]
    assert ENGLISH in texts[0] and CHINESE in texts[1]


def test_chinese_pdfs_give_their_text_page_by_page(tmp_path: Path) -> None:
    records, lost = read(file_of(tmp_path, "a.pdf", pdf(CHINESE, ENGLISH, "")))
    assert [record_texts(one) for one in records] == [(CHINESE,), (ENGLISH,)]
    assert [one.source.line for one in records] == [1, 2]
    assert [(one.line, one.reason) for one in lost] == [(3, "no text")]


def test_mail_gives_subject_and_text_and_a_thread_is_a_group(tmp_path: Path) -> None:
    records, lost = read(_file(tmp_path, "a.mbox"))
    assert not lost
    assert [record_texts(one)[0] for one in records] == [
        f"Wheel 0\n\n{ENGLISH}",
        f"Wheel 1\n\n{CHINESE}",
    ]
    assert len({one.group for one in records}) == 1
    assert "mill.example" not in records[0].group


def test_po_and_mo_give_pairs_and_count_what_is_not_translated(tmp_path: Path) -> None:
    records, lost = read(_file(tmp_path, "a.po"))
    assert [record_texts(one) for one in records] == [
        (ENGLISH, CHINESE),
        ('%d "wheel"', "%d 架水车"),
    ]
    assert [(one.value, one.reason[:14]) for one in lost] == [
        ("Mill", "a translation "),
        ("Open", "not translated"),
    ]
    data = PO.encode()
    assert data[records[0].source.byte_start :].startswith(b'msgid "The')
    assert _texts(tmp_path, "a.mo") == [(ENGLISH, CHINESE), ("Stop", "停")]


def test_translation_memories_give_pairs_in_the_direction_that_is_asked_for(
    tmp_path: Path,
) -> None:
    file = _file(tmp_path, "a.tmx")
    records, lost = read(file)
    assert [record_texts(one) for one in records] == [(ENGLISH, CHINESE), ("Stop", "Halt")]
    assert [one.value for one in lost] == ["alone"]
    records, lost = read(file, Wanted(columns={"input": "zh", "target": "en"}))
    assert [record_texts(one) for one in records] == [(CHINESE, ENGLISH)]
    assert len(lost) == 2


def test_conll_gives_spans_over_the_joined_text(tmp_path: Path) -> None:
    records, _ = read(_file(tmp_path, "a.conll"))
    found = [
        [(content_text(one.content)[s.start : s.end], s.tag) for s in one.spans]
        for one in records
        if isinstance(one, Tagged)
    ]
    assert found == [[("wheel", "THING"), ("Delft", "PLACE")], [("水车", "THING")]]
    assert record_texts(records[0]) == ("The wheel in Delft",)


def test_squad_gives_answers_and_counts_questions_without(tmp_path: Path) -> None:
    records, (lost,) = read(_file(tmp_path, "squad.json"))
    assert record_texts(records[0]) == (f"{ENGLISH}\n\nWhat lifts?", "wheel")
    assert "answer" in lost.reason


def test_parquet_gives_rows(tmp_path: Path) -> None:
    file = file_of(
        tmp_path, "a.parquet", parquet_of({"source": [ENGLISH, None], "target": [CHINESE, "x"]})
    )
    records, (lost,) = read(file)
    assert [record_texts(one) for one in records if isinstance(one, Pair)] == [(ENGLISH, CHINESE)]
    assert (lost.line, lost.reason) == (2, "no text under 'source'")


@pytest.mark.parametrize(
    ("ending", "pack"),
    [
        (".bz2", bz2.compress),
        (".xz", lzma.compress),
        (".zst", zstandard.ZstdCompressor().compress),
    ],
)
def test_compressed_lines_are_read_and_a_torn_end_is_told(
    tmp_path: Path, ending: str, pack: Callable[[bytes], bytes]
) -> None:
    data = pack(f"{CHAT}\n".encode() * 2000)
    records, lost = read(file_of(tmp_path, f"a.jsonl{ending}", data))
    assert (len(records), lost) == (2000, [])
    records, lost = read(file_of(tmp_path, f"b.jsonl{ending}", data[: len(data) - 12]))
    assert [one.line for one in lost][-1:] == [0]
    records, lost = read(file_of(tmp_path, f"c.jsonl{ending}", data + data))
    assert (len(records), lost) == (4000, [])


def test_archives_give_their_members_under_their_own_names(tmp_path: Path) -> None:
    for name in ("a.zip", "a.tgz"):
        records, lost = read(_file(tmp_path, name))
        assert not lost
        assert {one.source.file for one in records} == {f"{name}/b.txt", f"{name}/in/a.txt"}


@pytest.mark.parametrize("member", ["../a.txt", "/etc/a.txt", "a/../../b.txt", "c:\\a.txt"])
def test_an_archive_that_points_outside_is_refused_whole(tmp_path: Path, member: str) -> None:
    for name, data in (
        ("a.zip", zip_of({"good.txt": ENGLISH, member: "x"})),
        ("a.tar.gz", tar_of({"good.txt": ENGLISH, member: "x"})),
    ):
        records, (lost,) = read(file_of(tmp_path / "in", name, data))
        assert not records
        assert "a path outside of it" in lost.reason
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_bombs_do_not_go_off(tmp_path: Path) -> None:
    zeros = b"0" * (80 << 20)
    for name, data in (
        ("a.zip", zip_of({"a.txt": zeros})),
        ("a.txt.bz2", bz2.compress(zeros)),
        ("a.docx", zip_of({"word/document.xml": zeros})),
    ):
        _, lost = read(file_of(tmp_path, name, data))
        assert any("unpack" in one.reason for one in lost), name


def test_an_archive_in_an_archive_is_left_out_and_told(tmp_path: Path) -> None:
    _, (lost,) = read(file_of(tmp_path, "a.zip", zip_of({"b.zip": FILES["a.zip"]})))
    assert (lost.file, lost.reason) == ("a.zip/b.zip", "an archive in an archive")


def test_entities_of_a_document_are_refused(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
    tmx = bomb + "<tmx><body><tu><tuv><seg>&b;</seg></tuv></tu></body></tmx>"
    _, (lost,) = read(file_of(tmp_path, "a.tmx", tmx))
    assert "entities" in lost.reason
    _, (lost,) = read(file_of(tmp_path, "a.docx", zip_of({"word/document.xml": bomb + "<a/>"})))
    assert "entities" in lost.reason


def test_an_endless_line_is_told_without_being_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 2000)
    monkeypatch.setattr(lines, "BLOCK_BYTES", 500)
    text = f"{CHAT}\n" + "x" * 9001 + f"\n{CHAT}\n" + "y" * 5000
    file = file_of(tmp_path, "a.jsonl", text)
    records, lost = read(file)
    assert [one.source.line for one in records] == [1, 3]
    data = file.path.read_bytes()
    source = records[1].source
    assert data[source.byte_start : source.byte_end].decode() == CHAT
    assert [(one.line, one.value[:3]) for one in lost] == [(2, "xxx"), (4, "yyy")]


def test_a_folder_stands_for_all_files_in_it(tmp_path: Path) -> None:
    for name in ("d/a.txt", "d/e/b.txt", "d/.hidden"):
        file_of(tmp_path, name, ENGLISH)
    assert [file.name for file in find_files(["d"], tmp_path, {})] == ["d/a.txt", "d/e/b.txt"]


def test_urls_are_copied_once_and_named_without_secrets(tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/box/a.txt", ENGLISH.encode())
    memory.pipe("/box/b.txt", CHINESE.encode())
    cache = tmp_path / "cache"
    files = find_files(["memory://box/*.txt"], tmp_path, {}, cache)
    assert [file.name for file in files] == ["memory:///box/a.txt", "memory:///box/b.txt"]
    assert read(files[1])[0]
    file_of(tmp_path, "c.txt", ENGLISH)
    (local,) = find_files([f"file://{tmp_path}/c.txt"], tmp_path, {}, cache)
    assert local.path.read_text() == ENGLISH
    with pytest.raises(InputError) as refused:
        find_files(["http://user:secret@127.0.0.1:9/a.txt?key=hidden"], tmp_path, {}, cache)
    assert "secret" not in str(refused.value) and "hidden" not in str(refused.value)


def test_a_missing_library_is_an_error_that_names_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    from noria.errors import MissingExtra

    needed: dict[str, tuple[str, Any]] = {
        "a.html": ("resiliparse.extract.html2text", "data"),
        "a.epub": ("resiliparse.extract.html2text", "data"),
        "gb.txt": ("chardet", "data"),
    }
    for name, (module, extra) in needed.items():
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            with pytest.raises(MissingExtra, match=rf"noria\[{extra}\]"):
                read(_file(tmp_path, name))
