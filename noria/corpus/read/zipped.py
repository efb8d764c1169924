"""What DOCX and EPUB have in common: XML inside a zip, from hands that nobody knows.

In: a zip file. Out: its members' bytes, bounded in size and ratio, and XML as a tree, with
document types and entities refused, for they can stand for gigabytes or for other files.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from xml.etree import ElementTree
from xml.parsers import expat

from noria.corpus.read.compressed import MAX_RATIO
from noria.corpus.read.files import MAX_WHOLE_BYTES, SourceFile, read_bytes
from noria.errors import InputError

MAX_DEPTH = 500
_FREE_BYTES = 1 << 20


@contextmanager
def open_zip(file: SourceFile) -> Iterator[zipfile.ZipFile]:
    """Open a file as a zip. Raises InputError if it is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(read_bytes(file))) as found:
            yield found
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError) as error:
        raise InputError(f"no whole zip file ({error})", "an undamaged file") from error


def member_bytes(found: zipfile.ZipFile, name: str) -> bytes:
    """The bytes of a member. Raises InputError if it is not there or too large."""
    try:
        entry = found.getinfo(name)
    except KeyError as error:
        raise InputError(f"no {name!r} inside", "a whole file") from error
    limit = min(MAX_WHOLE_BYTES, max(_FREE_BYTES, MAX_RATIO * entry.compress_size))
    with found.open(entry) as content:
        data = content.read(limit + 1)
    if len(data) > limit:
        raise InputError(f"{name!r} unpacks to more than {limit:,} bytes", "a text of usual size")
    return data


def parse_xml(data: bytes, name: str) -> ElementTree.Element:
    """The tree of an XML text. Raises InputError for a fault, a document type, or endless depth."""
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise InputError(f"{name}: elements nested more than {MAX_DEPTH} deep", "XML")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    refuse_entities(parser, name)
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, ValueError, LookupError, AssertionError) as error:
        raise InputError(f"{name}: no XML ({error})", "XML") from error


def refuse_entities(parser: expat.XMLParserType, name: str) -> None:
    """Make a parser raise InputError for a document's own entities; a plain DOCTYPE is allowed."""

    def refuse(*declared: object) -> None:
        raise InputError(f"{name}: it declares entities of its own", "XML without them")

    def unknown(entity: str, is_parameter: bool) -> None:
        raise InputError(f"{name}: the entity {entity[:40]!r} is not known", "XML without entities")

    parser.EntityDeclHandler = refuse
    parser.SkippedEntityHandler = unknown


def plain_tag(tag: str) -> str:
    """A tag without its prefix."""
    return tag.rpartition(":")[2]
