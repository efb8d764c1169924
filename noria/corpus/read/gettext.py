"""Translations of programs, PO and MO, to pairs.

In: a PO file (text) or an MO file (binary), as GNU gettext describes both. Out: pairs of msgid and
msgstr; a line is that of the msgid, in an MO file the number of the entry. Plural forms give one
pair: the plural with its last form, or the singular where there is only one. What is not translated
or marked fuzzy is quarantined, comments and obsolete entries are not entries.
"""

from __future__ import annotations

import ast
import re
import struct
from dataclasses import dataclass, field

from noria.corpus.read.columns import Wanted
from noria.corpus.read.files import SourceFile, read_bytes
from noria.corpus.read.lines import find_encoding, text_lines
from noria.corpus.read.quarantine import Quarantined, WrongRow, quarantined
from noria.corpus.read.reader import Found, Say
from noria.errors import InputError
from noria.records import Pair, Source, text_content

_KEY = re.compile(r"(msgctxt|msgid_plural|msgid|msgstr(?:\[(\d)\])?)\s+(\".*\")\s*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_ESCAPE = re.compile(r"\\(?:[abfnrtv\\\"'?]|[0-7]{1,3}|x[0-9a-fA-F]{2})")
_CHARSET = re.compile(r"charset=([\w.:-]+)")
MAX_ENTRIES = 10_000_000


@dataclass
class _Entry:
    """An entry that is being read: its parts by keyword, and where it began."""

    line: int = 0
    start: int = 0
    end: int = 0
    is_fuzzy: bool = False
    parts: dict[str, str] = field(default_factory=dict)


def read_po(file: SourceFile, wanted: Wanted, say: Say) -> Found:
    """Yield the pairs of a PO file. Raises InputError for no text."""
    encoding = find_encoding(file, wanted.encoding)
    say("pair", f"gettext PO, {encoding.says()}")
    entry, key, is_fuzzy = _Entry(), "", False
    for line in text_lines(file, encoding):
        if isinstance(line, Quarantined):
            yield line
            continue
        text = line.text.strip()
        if text.startswith("#"):
            is_fuzzy = is_fuzzy or (text.startswith("#,") and "fuzzy" in text)
            continue
        try:
            match = _KEY.fullmatch(text)
            name = match[1] if match else ""
            begins = name == "msgctxt" or (name == "msgid" and "msgid" in entry.parts)
            if begins or (name == "msgid" and not entry.parts):
                if entry.parts:
                    yield from _pairs(file, entry)
                entry = _Entry(line.number, line.start, line.end, is_fuzzy)
                is_fuzzy = False
            elif name in entry.parts:
                raise WrongRow(f"{name} stands twice")
            if match is None and not (key and _STRING.fullmatch(text)):
                raise WrongRow("neither a keyword nor a text in quotes")
            key = name or key
            entry.parts[key] = entry.parts.get(key, "") + _unquoted(match[3] if match else text)
            entry.end = line.end
        except WrongRow as error:
            yield quarantined(file.name, line.number, line.text, error.reason)
    if entry.parts:
        yield from _pairs(file, entry)


def _unquoted(text: str) -> str:
    """The text in quotes, its escapes read."""
    if not _STRING.fullmatch(text):
        raise WrongRow("a text whose quotes do not close")
    return _ESCAPE.sub(lambda match: str(ast.literal_eval(f'"{match[0]}"')), text[1:-1])


def _pairs(file: SourceFile, entry: _Entry) -> Found:
    source = Source(file.name, entry.line, entry.start, entry.end)
    forms = [text for name, text in entry.parts.items() if name.startswith("msgstr")]
    original = entry.parts.get("msgid", "")
    if not original and forms:
        return  # the header
    if entry.is_fuzzy:
        yield quarantined(file.name, entry.line, original, "a translation that is marked fuzzy")
        return
    yield _pair(file, source, original, entry.parts.get("msgid_plural", ""), forms)


def _pair(
    file: SourceFile, source: Source, original: str, plural: str, forms: list[str]
) -> Pair | Quarantined:
    if not original.strip() or not forms or not forms[-1].strip():
        return quarantined(file.name, source.line, original, "not translated")
    of = plural if plural and len(forms) > 1 else original
    group = f"{file.name}:{source.line}"
    return Pair(text_content(of), text_content(forms[-1]), source, group)


def read_mo(file: SourceFile, wanted: Wanted, say: Say) -> Found:
    """Yield the pairs of an MO file, every offset checked. Raises InputError for what is none."""
    data = read_bytes(file)
    orders = {b"\xde\x12\x04\x95": "<", b"\x95\x04\x12\xde": ">"}
    order = orders.get(data[:4])
    if order is None or len(data) < 28:
        raise InputError("no MO file", "one that msgfmt wrote")
    _, count, originals, translations = struct.unpack_from(f"{order}4I", data, 4)
    tables_end = max(originals, translations) + 8 * count
    if count > MAX_ENTRIES or tables_end > len(data):
        raise InputError(f"an MO file of {count:,} entries that ends too early", "a whole file")
    name = wanted.encoding or _charset(data, order, count, originals, translations)
    say("pair", f"gettext MO, {name.upper()}")
    for number in range(count):
        try:
            original = _string(data, order, originals + 8 * number, name)
            translated = _string(data, order, translations + 8 * number, name)
        except WrongRow as error:
            yield quarantined(file.name, number + 1, error.value, error.reason)
            continue
        if not original:
            continue  # the header
        first, _, plural = original.rpartition("\4")[2].partition("\0")
        source = Source(file.name, number + 1)
        yield _pair(file, source, first, plural, translated.split("\0"))


def _charset(data: bytes, order: str, count: int, originals: int, translations: int) -> str:
    """The encoding that the header names: the translation of the empty text."""
    for number in range(min(count, 10)):
        try:
            if not _string(data, order, originals + 8 * number, "latin-1"):
                header = _string(data, order, translations + 8 * number, "latin-1")
                match = _CHARSET.search(header)
                return match[1] if match else "utf-8"
        except WrongRow:
            continue
    return "utf-8"


def _string(data: bytes, order: str, place: int, encoding: str) -> str:
    length, offset = struct.unpack_from(f"{order}2I", data, place)
    if offset + length > len(data):
        raise WrongRow("a text that lies outside of the file")
    try:
        return data[offset : offset + length].decode(encoding)
    except (UnicodeError, LookupError) as error:
        raise WrongRow(f"not {encoding.upper()}", repr(data[offset : offset + 60])) from error
