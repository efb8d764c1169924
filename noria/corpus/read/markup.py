"""HTML to documents: the main content of a page, not its navigation.

In: a page, in the encoding that it declares or that is found. Out: documents cut like running text.
A document's line is the page's first, for the text has no bytes of its own in the file. Needs
resiliparse (the extra `data`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from noria.corpus.read.columns import Wanted
from noria.corpus.read.encodings import WIDE
from noria.corpus.read.files import SourceFile, read_bytes
from noria.corpus.read.lines import find_encoding
from noria.corpus.read.pieces import document_ranges
from noria.corpus.read.quarantine import Quarantined, quarantined
from noria.corpus.read.reader import Found, Say
from noria.errors import InputError, MissingExtra
from noria.records import Document, Source, text_content

MAX_DEPTH = 2000  # of nested elements: the parser behind is C, and deep trees cost it time
_DECLARED = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{2,40})", re.IGNORECASE)
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)[^<>]*?(/?)>")
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source"}
_VOID |= {"track", "wbr", "p", "li", "td", "tr", "dt", "dd", "option"}  # often left open


def read_html(file: SourceFile, wanted: Wanted, say: Say) -> Found:
    """Yield the documents of a page. Raises InputError for a page that is no text or has none."""
    data = read_bytes(file)
    declared = _DECLARED.search(data[:4096])
    named = wanted.encoding or (declared[1].decode("ascii", "replace") if declared else "")
    try:
        encoding = find_encoding(file, named)
        text = data[encoding.mark_bytes :].decode(encoding.name)
        how = encoding.name.upper() if wanted.encoding or not declared else "as the page declares"
    except (InputError, UnicodeError):  # pages often declare what they are not
        encoding = find_encoding(file, wanted.encoding)
        text = data[encoding.mark_bytes :].decode(encoding.name, "replace")
        how = encoding.says()
    if "\0" in text and encoding.name not in WIDE:
        text = text.replace("\0", "")
    say("document", f"main content of HTML, {how}")
    yield from text_documents(file, main_text(text, file.name), 1, file.name)


def main_text(page: str, name: str) -> str:
    """The main content of an HTML page as text.

    Raises MissingExtra without resiliparse, InputError for elements nested beyond MAX_DEPTH.
    """
    try:
        from resiliparse.extract.html2text import extract_plain_text
    except ImportError as error:
        raise MissingExtra(f"resiliparse, which reads {name},", "data") from error
    if _depth(page) > MAX_DEPTH:
        raise InputError(f"elements nested {MAX_DEPTH} deep", "a page", "leave it out")
    return str(extract_plain_text(page, main_content=True, alt_texts=False, links=False))


def _depth(page: str) -> int:
    """How deep the elements of a page are nested at most, counted by their tags."""
    depth = deepest = 0
    for match in _TAG.finditer(page):
        if match[3] or match[2].lower() in _VOID:
            continue
        depth = max(0, depth - 1) if match[1] else depth + 1
        deepest = max(deepest, depth)
    return deepest


def text_documents(
    file: SourceFile, text: str, line: int, group: str
) -> Iterator[Document | Quarantined]:
    """A text that was drawn from a file, cut into documents; one without words is quarantined."""
    text = text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")
    found = False
    for start, end in document_ranges(text):
        found = True
        yield Document(text_content(text[start:end]), Source(file.name, line), group)
    if not found:
        yield quarantined(file.name, line, "", "no text")
