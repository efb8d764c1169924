"""EPUB to documents: the chapters in the order of the book's spine.

In: an EPUB 2 or 3 (XHTML inside a zip). Out: documents cut as running text is; a document's line is
the number of its chapter, and the book is the group. Needs resiliparse (the extra `data`).
"""

from __future__ import annotations

import posixpath
import zipfile
from urllib.parse import unquote

from noria.corpus.read.columns import Wanted
from noria.corpus.read.files import SourceFile
from noria.corpus.read.markup import main_text, text_documents
from noria.corpus.read.quarantine import quarantined
from noria.corpus.read.reader import Found, Say
from noria.corpus.read.zipped import member_bytes, open_zip, parse_xml, plain_tag
from noria.errors import InputError

MAX_CHAPTERS = 5000


def read_epub(file: SourceFile, wanted: Wanted, say: Say) -> Found:
    """Yield the documents of each chapter; one that can't be read is quarantined.

    Raises InputError for what is no EPUB, MissingExtra without resiliparse.
    """
    with open_zip(file) as found:
        chapters = _spine(found)
        say("document", "EPUB, chapter by chapter")
        for number, name in enumerate(chapters[:MAX_CHAPTERS], start=1):
            try:
                page = member_bytes(found, name).decode("utf-8", "replace")
                text = main_text(page, file.name)
            except InputError as error:
                yield quarantined(file.name, number, name, str(error))
                continue
            yield from text_documents(file, text, number, file.name)
        if len(chapters) > MAX_CHAPTERS:
            yield quarantined(file.name, 0, "", f"chapters beyond {MAX_CHAPTERS} are left out")


def _spine(found: zipfile.ZipFile) -> list[str]:
    """The names of the chapters' files, in reading order."""
    container = parse_xml(member_bytes(found, "META-INF/container.xml"), "container.xml")
    packages = [
        one.get("full-path") for one in container.iter() if plain_tag(one.tag) == "rootfile"
    ]
    if not packages or not packages[0]:
        raise InputError("container.xml names no package", "an EPUB")
    package = parse_xml(member_bytes(found, packages[0]), packages[0])
    folder = posixpath.dirname(packages[0])
    items = {
        one.get("id"): one.get("href", "")
        for one in package.iter()
        if plain_tag(one.tag) == "item" and "html" in one.get("media-type", "")
    }
    names = [
        posixpath.normpath(posixpath.join(folder, unquote(items[one.get("idref")])))
        for one in package.iter()
        if plain_tag(one.tag) == "itemref" and one.get("idref") in items
    ]
    if not names:
        raise InputError("a book without chapters", "an EPUB")
    return names
