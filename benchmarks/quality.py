"""What the limits of quality cut from text that is worth learning, and from what is not.

`python benchmarks/quality.py`: pages of LibreOffice's help in eight languages and files of this
Python's library, in documents of 2,000 characters at most; beside them documents made here: random
bytes in base64, random letters, tables of numbers, and shuffled characters of the Chinese pages.
"""

from __future__ import annotations

import base64
import random
import string
import sysconfig
import time
from collections import Counter, defaultdict
from pathlib import Path

from help_pages import paragraphs
from language import TAGS

from noria.corpus.clean import clean_text
from noria.corpus.quality import judge_documents
from noria.corpus.read.text import document_ranges
from noria.records import Document, Source, content_text, text_content
from noria.text_settings import QualitySettings

NUM_FILES, NUM_MADE = 300, 100


def documents_of(kind: str, texts: list[str]) -> list[Document]:
    """The texts in documents, as the reader of running text cuts them."""
    found = []
    for text in map(clean_text, texts):
        for start, end in document_ranges(text):
            found.append(Document(text_content(text[start:end]), Source(kind)))
    return found


def everything() -> list[Document]:
    """Real text of nine kinds, and made text of four."""
    found = []
    for suffix, tag in TAGS.items():
        pages = defaultdict(list)
        for (page, _), text in paragraphs(suffix).items():
            pages[page].append(text)
        found += documents_of(f"help, {tag}", ["\n".join(texts) for texts in pages.values()])
    chinese = [content_text(one.content) for one in found if one.source.file == "help, zh-Hans"]
    library = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:NUM_FILES]
    found += documents_of("Python", [path.read_text("utf-8", "replace") for path in library])
    draw = random.Random(1)
    made = {
        "base64": lambda: base64.b64encode(draw.randbytes(1000)).decode(),
        "letters": lambda: "".join(draw.choices(string.ascii_letters + " " * 8, k=1500)),
        "numbers": lambda: "\n".join(str(draw.randrange(10**9)) for _ in range(150)),
        "shuffled": lambda: "".join(draw.sample(text := draw.choice(chinese), len(text))),
    }
    for kind, make in made.items():
        for _ in range(NUM_MADE):
            found.append(Document(text_content(make()), Source(f"made, {kind}")))
    return found


def main() -> None:
    documents = everything()
    totals = Counter(one.source.file for one in documents)
    cut: Counter[str] = Counter()
    signals: dict[str, Counter[str]] = defaultdict(Counter)
    started_at = time.perf_counter()
    for document, excesses in zip(
        documents, judge_documents(documents, QualitySettings()), strict=True
    ):
        cut[document.source.file] += bool(excesses)
        signals[document.source.file].update(one.signal for one in excesses)
    each_ms = (time.perf_counter() - started_at) / len(documents) * 1000
    for kind, total in sorted(totals.items()):
        print(f"{kind}: {cut[kind]} of {total} {dict(signals[kind])}")
    print(f"{each_ms:.2f} ms a document")


if __name__ == "__main__":
    main()
