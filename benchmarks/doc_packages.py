"""A gigabyte of real text: Debian's documentation packages, fetched by name, as JSON Lines.

Out: files of about 20 MB in benchmarks/cache/corpus, a passage of about 2,000 characters a line, as
our readers cut them, with its package and path; in English, simplified and traditional Chinese,
German and French. Then they come again, every third with a sentence added in its middle, until
there is as much text as was asked for: a corpus that was gathered twice.
Needs `apt-get` and `dpkg-deb`. The texts' licences are those of their packages.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from resiliparse.extract.html2text import extract_plain_text

from noria.corpus.read.pieces import document_ranges

CACHE = Path(__file__).resolve().parent / "cache" / "corpus"
PACKAGES = (
    *("libreoffice-help-zh-cn", "libreoffice-help-zh-tw", "libreoffice-help-en-us"),
    *("libreoffice-help-de", "libreoffice-help-fr", "python3.11-doc", "postgresql-doc-15"),
    *("linux-doc-6.1", "llvm-14-doc", "erlang-doc", "qtbase5-doc-html", "racket-doc"),
    *("sagemath-doc", "openjdk-17-doc", "rust-doc", "debian-handbook", "perl-doc"),
)
ENDINGS = (".html", ".htm", ".txt", ".rst", ".html.gz", ".txt.gz", ".rst.gz", ".pod")
FILE_BYTES = 20 << 20
MIN_CHARACTERS, MAX_CHARACTERS = 200, 200_000


def package_pages(package: str, scratch: Path) -> Iterator[tuple[str, str]]:
    """(path, text) of each page of a package that is text or HTML."""
    subprocess.run(["apt-get", "download", "-q", package], cwd=scratch, check=True)
    (file,) = scratch.glob("*.deb")
    unpacked = scratch / "unpacked"
    subprocess.run(["dpkg-deb", "-x", str(file), str(unpacked)], check=True)
    for path in sorted(unpacked.rglob("*")):
        if not path.name.endswith(ENDINGS) or path.is_symlink() or not path.is_file():
            continue
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        text = data.decode("utf-8", "replace")
        if ".htm" in path.name:
            text = extract_plain_text(text, main_content=True, alt_texts=False)
        if MIN_CHARACTERS <= len(text) <= MAX_CHARACTERS:
            yield path.relative_to(unpacked).as_posix(), text


def distinct_pages() -> list[Path]:
    """Files of pages, a package's own, fetched if they are not there yet."""
    CACHE.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        done = CACHE / f"{package}.jsonl"
        if done.exists():
            continue
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            part = Path(scratch) / "pages"
            with part.open("w", encoding="utf-8") as out:
                for path, text in package_pages(package, Path(scratch)):
                    row = {"text": text, "package": package, "path": path}
                    out.write(json.dumps(row, ensure_ascii=False) + "\n")
            part.rename(done)
    return [CACHE / f"{package}.jsonl" for package in PACKAGES]


def _lines(num_bytes: int, *, repeat: bool) -> Iterator[str]:
    """Lines with passages of so many bytes; the packages in turn, a page each, then pages again."""
    given = 0
    for turn in range(100 if repeat else 1):
        waiting = [path.open(encoding="utf-8") for path in distinct_pages()]
        number = 0
        while waiting:
            for file in list(waiting):
                line = file.readline()
                if not line:
                    waiting.remove(file)
                    file.close()
                    continue
                row = json.loads(line)
                for start, end in document_ranges(row["text"]):
                    number += 1
                    text = row["text"][start:end]
                    if turn and number % 3 == 0:
                        cut = len(text) // 2
                        text = f"{text[:cut]} In turn {turn} again. {text[cut:]}"
                    given += len(text.encode("utf-8"))
                    path = f"{row['package']}/{row['path']}#{start}"
                    yield json.dumps({"text": text, "path": path}, ensure_ascii=False) + "\n"
                    if given >= num_bytes:
                        return


def pages_of(num_bytes: int, *, repeat: bool) -> Path:
    """A folder of JSON Lines with so many bytes of text, made if it is not there yet."""
    folder = CACHE / f"{num_bytes // 1_000_000}MB"
    if folder.is_dir():
        return folder
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        size, number = FILE_BYTES, 0
        out = None
        for line in _lines(num_bytes, repeat=repeat):
            if size >= FILE_BYTES:
                if out:
                    out.close()
                out = (made / f"{number:03}.jsonl").open("w", encoding="utf-8")
                size, number = 0, number + 1
            assert out
            out.write(line)
            size += len(line.encode("utf-8"))
        if out:
            out.close()
        made.rename(folder)
    return folder
