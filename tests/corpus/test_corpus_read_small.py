"""Small texts whose label is where they lie, a text a line, and tagged lines with their spans."""

from __future__ import annotations

from pathlib import Path

from reading import file_of, read

from noria.corpus.read import Wanted
from noria.records import Document, Labelled, Tagged, record_texts


def test_a_line_is_a_text_labelled_by_its_file_in_any_encoding(tmp_path: Path) -> None:
    text = "很好，非常喜欢这本书。\n\n 值得一看 \n".encode("gb18030")
    file = file_of(tmp_path, "reviews/pos.txt", text)
    wanted = Wanted("labelled", columns={"labels": "@file"}, encoding="gb18030")
    found, lost = read(file, wanted)
    assert not lost and all(isinstance(one, Labelled) for one in found)
    assert [(record_texts(one)[0], one.source.line) for one in found] == [
        ("很好，非常喜欢这本书。", 1),
        ("值得一看", 3),
    ]
    assert {one.labels for one in found if isinstance(one, Labelled)} == {("pos",)}


def test_a_file_is_a_text_labelled_by_its_folder(tmp_path: Path) -> None:
    text = "A headline\n\nAnd its story.\n"
    wanted = Wanted("labelled", columns={"labels": "@folder"})
    (one,), _ = read(file_of(tmp_path, "news/sport/001.txt", text), wanted)
    assert isinstance(one, Labelled) and one.labels == ("sport",)
    assert record_texts(one)[0] == text
    _, (lost,) = read(file_of(tmp_path, "001.txt", text), wanted)
    assert "lies in no folder" in lost.reason


def test_a_row_or_a_line_is_one_document_however_long(tmp_path: Path) -> None:
    long = "a sentence of some length. " * 400
    table = file_of(tmp_path, "rows.csv", f'n,text\n1,"{long}"\n2,"short"\n')
    wanted = Wanted("document", whole=True)
    rows, _ = read(table, wanted)
    assert [record_texts(one)[0] for one in rows] == [long, "short"]
    parts, _ = read(table, Wanted("document"))
    assert len(parts) > 2
    lines, _ = read(file_of(tmp_path, "lines.txt", "one\ntwo\n"), wanted)
    assert [record_texts(one)[0] for one in lines] == ["one", "two"]
    assert all(isinstance(one, Document) for one in lines)


def test_tagged_lines_keep_a_span_for_each_word_compound_and_whole_name(tmp_path: Path) -> None:
    lines = "[中国/ns 银行/n]nt 江/nr 泽民/nr 在/p 北京/ns\nno tag here\n"
    wanted = Wanted("tagged", format="tagged")
    (one,), (lost,) = read(file_of(tmp_path, "news.txt", lines), wanted)
    assert isinstance(one, Tagged)
    text = record_texts(one)[0]
    assert text == "中国银行江泽民在北京" and "without a tag" in lost.reason
    assert {(text[s.start : s.end], s.tag) for s in one.spans} == {
        *(("中国", "ns"), ("银行", "n"), ("中国银行", "nt"), ("江泽民", "nr")),
        *(("在", "p"), ("北京", "ns")),
    }
