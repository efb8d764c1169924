"""Requests to a home in English, drawn from public sentence templates, with their intents.

In: the templates of the package `home-assistant-intents` (Apache-2.0). Out: sentences, no two
alike, each with the name of what is wanted. The rooms and devices are ours: the package leaves them
open.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random
from typing import Any

from noria.corpus.packages import fetch_package
from noria.runtime import cache_folder
from noria.text_settings import PackageSettings

TEMPLATES = PackageSettings(
    registry="pypi",
    package="home-assistant-intents",
    version="2026.10.27",
    sha256="256eb1e4fc6e6f4943d0ba4e089c9639d74d0e9d62ccddeb7148bc168de55e40",
    licence="Apache-2.0",
)
OWN = {
    "area": ["kitchen", "bedroom", "garage", "hall", "office", "bathroom", "attic", "living room"],
    "floor": ["ground floor", "first floor", "basement", "upstairs"],
    "name": ["lamp", "heater", "blinds", "coffee machine", "radio", "curtain", "fan", "oven"],
}
WORDS = ["milk", "bread", "good night", "dinner is ready", "rain", "jazz", "apples", "the news"]
_TOKEN = re.compile(r"[\[\]()|;]|<[^>]+>|\{[^}]+\}|[^\[\]()|;<{]+")


def home_requests(count: int, seed: int) -> list[tuple[str, str]]:
    """So many sentences with their intents; every template is drawn as often as any other."""
    path = fetch_package(TEMPLATES, cache_folder()) / "home_assistant_intents/data/en.json"
    grammar = _Grammar(path, Random(seed))
    templates = [
        (sentence, intent)
        for intent, said in sorted(grammar.intents.items())
        for block in said["data"]
        for sentence in block["sentences"]
    ]
    found: dict[str, str] = {}
    while len(found) < count:
        template, intent = grammar.random.choice(templates)
        text = " ".join(grammar.said(template).split())
        if text:
            found.setdefault(text, intent)
    return list(found.items())


class _Grammar:
    """Templates with [what may be left out], (one|of several), <rules> and {lists}."""

    def __init__(self, path: Path, random: Random) -> None:
        value = json.loads(path.read_text(encoding="utf-8"))
        self.intents: dict[str, Any] = value["intents"]
        self._rules, self._lists = value["expansion_rules"], value["lists"]
        self.random = random

    def said(self, template: str) -> str:
        """One of the sentences that a template stands for."""
        return self._choice(_TOKEN.findall(template), 0, "")[0]

    def _choice(self, tokens: list[str], place: int, end: str) -> tuple[str, int]:
        """One of the parts between bars, up to the closing bracket; and the place behind it.

        What stands between semicolons comes in any order.
        """
        parts = [[""]]
        while place < len(tokens) and tokens[place] != end:
            token = tokens[place]
            place += 1
            if token == "|":
                parts.append([""])
            elif token == ";":
                parts[-1].append("")
            elif token in "[(":
                inner, place = self._choice(tokens, place, "]" if token == "[" else ")")
                parts[-1][-1] += inner if token == "(" or self.random.random() < 0.5 else ""
            elif token.startswith("<"):
                parts[-1][-1] += self.said(self._rules[token[1:-1]])
            elif token.startswith("{"):
                parts[-1][-1] += self._item(token[1:-1].split(":")[0])
            else:
                parts[-1][-1] += token
        chosen = self.random.choice(parts)
        self.random.shuffle(chosen)
        return " ".join(chosen), place + 1

    def _item(self, name: str) -> str:
        if name in OWN:
            return self.random.choice(OWN[name])
        values = self._lists.get(name, {})
        if "range" in values:
            ends = values["range"]
            return str(self.random.randrange(ends["from"], ends["to"] + 1))
        if "values" in values:
            one = self.random.choice(values["values"])
            return self.said(one["in"] if isinstance(one, dict) else str(one))
        return self.random.choice(WORDS)
