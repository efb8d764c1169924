"""DOCX to documents.

In: a Word file (ECMA-376: XML inside a zip). Out: its paragraphs and tables as running text, cut
into documents; what was deleted under tracked changes, comments, headers and footers are left out.
Read here and not by a library, because forty lines do it with bounds on every size. A document's
line is the number of its part, from 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from noria.corpus.read.columns import Wanted
from noria.corpus.read.files import SourceFile
from noria.corpus.read.markup import text_documents
from noria.corpus.read.reader import Found, Say
from noria.corpus.read.zipped import member_bytes, open_zip, parse_xml, plain_tag

_LEFT_OUT = {"del", "instrText", "delText", "Fallback", "pPr", "rPr", "sectPr"}


def read_docx(file: SourceFile, wanted: Wanted, say: Say) -> Found:
    """Yield the documents of a Word file. Raises InputError for what is none."""
    with open_zip(file) as found:
        root = parse_xml(member_bytes(found, "word/document.xml"), "word/document.xml")
    say("document", "DOCX")
    yield from text_documents(file, "".join(_texts(root)), 1, file.name)


def _texts(element: Element) -> Iterator[str]:
    """Text in reading order: an empty line behind a paragraph, a tab between cells."""
    tag = plain_tag(element.tag)
    if tag in _LEFT_OUT:
        return
    if tag == "t":
        yield element.text or ""
    elif tag == "tab":
        yield "\t"
    elif tag in ("br", "cr"):
        yield "\n"
    elif tag == "tc":
        yield _inside(element).strip().replace("\n", " ") + "\t"
    elif tag == "tr":
        yield _inside(element).rstrip("\t") + "\n"
    else:
        for child in element:
            yield from _texts(child)
        if tag in ("p", "tbl"):
            yield "\n\n"


def _inside(element: Element) -> str:
    return "".join(text for child in element for text in _texts(child))
