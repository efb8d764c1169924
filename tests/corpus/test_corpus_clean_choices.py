import json
import sys
from pathlib import Path
from typing import Any

import pytest

from noria.corpus import chinese, clean
from noria.corpus.boilerplate import Boilerplate
from noria.corpus.clean import Choices, clean_text
from noria.corpus.prepare import prepare_corpus, requests_of
from noria.corpus.read import find_files
from noria.errors import MissingExtra
from noria.records import Document, Source, content_text, read_records, text_content
from noria.text_settings import CorpusSettings

REPAIR = Choices(mojibake="repair")
FOOTER = "© Harbour Office · Imprint · Privacy"


@pytest.mark.parametrize(
    "text",
    [
        "Der Wärter ging über die Brücke – „spät“, sagte er.",
        "Le café où l'été s'achève… déjà ?",
        "守灯人每天晚上都提着灯走上楼梯。",
        "守燈人每天晚上都提著燈走上樓梯。",
        "灯台守は毎晩ランプを持って階段を上った。",
    ],
)
def test_wrongly_decoded_text_is_repaired_and_right_text_left_alone(text: str) -> None:
    assert clean_text(text, REPAIR) == text
    for table in ("latin-1", "cp1252"):
        try:
            broken = text.encode("utf-8").decode(table)
        except UnicodeDecodeError:
            continue
        assert clean_text(broken, REPAIR) == text


@pytest.mark.parametrize(
    "text",
    [
        'PATTERN = re.compile("[\\xc3\\xa9]+")  # é and Ä, &amp; is kept\n    x = a << 2',
        "if a != b:\n    print(f\"{name!r}: 'straight' and “curly” quotes, ﬁne ligatures\")",
        "int[] a = {0xC3, 0xA9}; // ¿qué? naïve — 100 %",
        "¥100，§5，®注册商标，·中点·",
    ],
)
def test_code_and_signs_are_not_taken_for_broken_text(text: str) -> None:
    assert clean_text(text, REPAIR) == clean_text(text)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("ＡＢＣ１２３＋ａ＝ｂ％", "ABC123+a=b%"),
        ("今天是２０２６年，温度３．５度！（真的？）", "今天是2026年，温度3.5度！（真的？）"),
        ("ﾗﾝﾌﾟとｶﾞｽ", "ランプとガス"),
        ("第１章：全角～半角。", "第1章：全角～半角。"),
    ],
)
def test_full_width_letters_become_plain_and_chinese_punctuation_stays(
    text: str, plain: str
) -> None:
    assert clean_text(text, Choices(width="plain")) == plain
    assert clean_text(text) == text


@pytest.mark.parametrize(
    ("simplified", "traditional"),
    [
        ("守灯人后来头发都白了。", "守燈人後來頭髮都白了。"),
        ("皇后在宫里面干什么？公里数是多少？", "皇后在宮裏面幹什麼？公里數是多少？"),
        ("这台 Python 程序运行得很快", "這臺 Python 程序運行得很快"),
    ],
)
def test_chinese_is_written_in_the_one_way_that_was_chosen(
    simplified: str, traditional: str
) -> None:
    to_simplified, to_traditional = Choices(chinese="simplified"), Choices(chinese="traditional")
    assert clean_text(simplified, to_traditional) == traditional
    assert clean_text(traditional, to_traditional) == traditional
    assert clean_text(traditional, to_simplified) == simplified
    assert clean_text(simplified, to_simplified) == simplified


def test_traditional_text_is_not_taken_for_simplified_where_both_share_characters() -> None:
    text = "說明頁面包含了十六進制的組合"
    assert clean_text(text, Choices(chinese="traditional")) == text


def test_japanese_is_never_converted() -> None:
    text = "国の学校で発音を学び、図書館へ行きました。"
    for to in ("simplified", "traditional"):
        assert clean_text(text, Choices(chinese=to)) == text


@pytest.mark.parametrize(
    ("module", "choices"),
    [("ftfy", REPAIR), ("opencc", Choices(chinese="simplified"))],
)
def test_a_choice_without_its_library_says_which_extra_brings_it(
    monkeypatch: pytest.MonkeyPatch, module: str, choices: Choices
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    for cached in (clean._fixer, chinese.variant_characters, chinese._converter):
        cached.cache_clear()
    with pytest.raises(MissingExtra, match=r"noria\[data\]"):
        choices.check()


def _page(number: int, folder: str, *, footer: bool) -> Document:
    lines = [f"Page {number} is about boat {number}.", "", *([FOOTER] if footer else [])]
    text = "\n".join([*lines, f"Its keeper wrote {number} letters home."])
    return Document(text_content(text), Source(f"{folder}/{number:02}.txt"))


def test_a_line_of_many_documents_goes_and_the_same_line_of_few_stays() -> None:
    pages = [_page(n, "site", footer=n % 2 == 0) for n in range(20)]
    letters = [_page(n, "letters", footer=n < 4) for n in range(20)]  # 4 of 20: not 5
    documents = [*pages, *letters]
    found = Boilerplate(documents, share=0.1)
    left = {one.source: found.without(one) for one in documents}
    removed = found.removed()
    texts = [left[one.source] or content_text(one.content) for one in documents]
    assert sum(text is not None for text in left.values()) == 10
    assert not any(FOOTER in text for text in texts[:20])
    assert sum(FOOTER in text for text in texts[20:]) == 4
    ((name, lines),) = removed.items()
    assert (name, [(one.line, one.num_documents, one.num_removed) for one in lines]) == (
        "site",
        [(FOOTER, 10, 10)],
    )
    backwards = Boilerplate(documents[::-1], share=0.1)
    assert {one.source: backwards.without(one) for one in documents} == left
    assert backwards.removed() == removed
    nothing = Boilerplate(documents, share=0)
    assert not any(map(nothing.without, documents)) and not nothing.removed()


def _prepare(folder: Path, **changes: Any) -> dict[str, Any]:
    files = find_files(["**/*.txt"], folder, {})
    settings = CorpusSettings(held_out=0.2, test=0.2, near_duplicates=False, **changes)
    return prepare_corpus(requests_of(files, [], []), settings, 1, folder / "out", lambda *_: None)


def test_the_corpus_is_cleaned_by_the_recipes_choices_and_reports_boilerplate(
    tmp_path: Path,
) -> None:
    (tmp_path / "site").mkdir()
    for n in range(12):
        text = f"{FOOTER}\n\n第{n}頁寫著燈塔的歷史，ＡＢ{n}。\n\nThe cafÃ© of page {n} is closed."
        (tmp_path / "site" / f"{n:02}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "site" / "bare.txt").write_text(f"{FOOTER}\n\nA few words.", encoding="utf-8")
    report = _prepare(
        tmp_path, mojibake="repair", width="plain", chinese="simplified", boilerplate=0.5
    )
    (lines,) = report["boilerplate"].values()
    example = {"line": FOOTER, "num_documents": 13, "num_removed": 13}
    assert lines == {"lines": 1, "removed": 13, "examples": [example]}
    texts = [
        content_text(record.content)
        for split in ("train", "held_out", "test")
        for record in read_records(tmp_path / "out" / f"{split}.jsonl")
        if isinstance(record, Document)
    ]
    assert sorted(texts)[0] == "第0页写着灯塔的历史，AB0。\n\nThe café of page 0 is closed."
    assert len(texts) == 12
    dropped = (tmp_path / "out" / "dropped.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["reason"] for line in dropped] == ["too short without boilerplate"]


def test_nothing_of_it_happens_unasked(tmp_path: Path) -> None:
    for n in range(12):
        text = f"{FOOTER}\n第{n}頁寫著，ＡＢ{n}。 cafÃ©"
        (tmp_path / f"{n:02}.txt").write_text(text, encoding="utf-8")
    assert _prepare(tmp_path)["boilerplate"] == {}
    records = list(read_records(tmp_path / "out" / "train.jsonl"))
    for record in records:
        assert isinstance(record, Document)
        assert content_text(record.content).startswith(FOOTER + "\n第")
        assert "寫著，ＡＢ" in content_text(record.content)
        assert content_text(record.content).endswith("cafÃ©")
