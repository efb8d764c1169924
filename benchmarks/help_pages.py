"""Real text in many languages: LibreOffice's help pages, fetched from Debian by package name.

In: a language's suffix in Debian (`en-us`, `zh-tw`). Out: the paragraphs of its pages with their
page and id, which are the same in every language; sentences cut from them. Needs `apt-get` and
`dpkg-deb`; what is fetched stays in benchmarks/cache. The pages' licence is MPL-2.0.
"""

from __future__ import annotations

import html
import re
import subprocess
import tempfile
from pathlib import Path

CACHE = Path(__file__).resolve().parent / "cache" / "help"
_PARAGRAPH = re.compile(r'<p id="([^"]+)" class="paragraph"[^>]*>(.*?)</p>', re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_HIDDEN = re.compile(r'<span[^>]*hidden="true".*?</span></span>', re.DOTALL)
_END = re.compile(r"(?<=[。！？])|(?<=[.!?])\s+(?=[^\sa-z])")


def pages_folder(suffix: str) -> Path:
    """The folder of one language's HTML pages, fetched if it is not there yet."""
    folder = CACHE / suffix
    if not folder.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        package = f"libreoffice-help-{suffix}"
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            subprocess.run(["apt-get", "download", "-q", package], cwd=scratch, check=True)
            (file,) = Path(scratch).glob("*.deb")
            unpacked = Path(scratch, "unpacked")
            subprocess.run(["dpkg-deb", "-x", str(file), str(unpacked)], check=True)
            unpacked.rename(folder)
    return folder


def paragraphs(suffix: str) -> dict[tuple[str, str], str]:
    """(page, id) -> the paragraph's text, one space between words."""
    found = {}
    for path in sorted(pages_folder(suffix).rglob("*.html")):
        page = path.as_posix().split("/text/")[-1]
        for name, inner in _PARAGRAPH.findall(path.read_text(encoding="utf-8")):
            text = html.unescape(_TAG.sub("", _HIDDEN.sub("", inner)))
            found[page, name] = " ".join(text.split())
    return found


def sentences(suffix: str, min_characters: int) -> list[str]:
    """The distinct whole sentences of so many characters and more, sorted."""
    cut = (one.strip() for text in paragraphs(suffix).values() for one in _END.split(text))
    whole = {one for one in cut if len(one) >= min_characters and one[-1] in ".!?。！？"}
    return sorted(whole)
