"""Which encoding a text is in: a mark at its start, UTF-8 if it can be, else the likeliest.

In: the first bytes of a file and lines of it that are not ASCII. Out: an encoding by Python's name
for it, and how it was found. This module opens no files.

UTF-8 comes first because text in another encoding is hardly ever valid UTF-8. UTF-16 without a mark
is known by what it decodes to; all others (GB18030, Big5, Shift-JIS, the Latin family …) by
chardet, which was right on 60 of 60 Chinese snippets of 20 characters (see docs/log.md).
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from noria.errors import InputError, MissingExtra

# A UTF-32 mark begins with that of UTF-16: the longer ones stand first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"\x84\x31\x95\x33", "gb18030"),
)
WIDE = {"utf-16-le": 2, "utf-16-be": 2, "utf-32-le": 4, "utf-32-be": 4}  # bytes of a unit
MIN_VALID_LINES = 0.5  # share of lines that are valid UTF-8: below, the file is in another encoding
MIN_USUAL = 0.95  # share of letters, Han and their punctuation in what UTF-16 decodes to
MIN_NUL_OR_HIGH = 0.2  # share of bytes that are zero or no ASCII, which UTF-16 of any text has
MAX_CONTROLS = 0.01  # share of control characters beyond which a file is no text
MAX_GUESSED_BYTES = 1 << 16
_USUAL = re.compile("[\t\n\r -~\u00a0-\u024f\u2010-\u2030\u3000-\u30ff\u4e00-\u9fff\uff00-\uffef]")
_NUL_OR_HIGH = re.compile(rb"[\x00\x80-\xff]")
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_CHINESE = {"gb2312", "gbk", "cp936", "hz", "euc-cn"}  # GB18030 holds all of them


@dataclass(frozen=True)
class Encoding:
    """Python's name of an encoding, the bytes of the mark before the text, and how it was found."""

    name: str
    mark_bytes: int
    how: str

    @property
    def unit_bytes(self) -> int:
        """Bytes of the smallest unit: a line feed has as many."""
        return WIDE.get(self.name, 1)

    @property
    def newline(self) -> bytes:
        """A line feed in this encoding."""
        return "\n".encode(self.name)

    def says(self) -> str:
        """The encoding in a few words."""
        return f"{self.name.upper()} ({self.how})"


def named_encoding(name: str, head: bytes) -> Encoding:
    """The encoding that a recipe names. Raises InputError for one that Python does not know."""
    try:
        known = codecs.lookup(name)
        "\n".encode(known.name).decode(known.name)
    except (LookupError, UnicodeError, TypeError, ValueError) as error:
        raise InputError(
            f"the encoding {name!r} is not known", "such as utf-8, gb18030, big5 or latin-1"
        ) from error
    for mark, marked in _MARKS:
        if head.startswith(mark) and marked.startswith(known.name.removesuffix("-sig")):
            return Encoding(marked, len(mark), "the recipe says so")
    if known.name in ("utf-16", "utf-32"):  # without a mark: as this family is mostly written
        return Encoding(f"{known.name}-le", 0, "the recipe says so")
    return Encoding(known.name.removesuffix("-sig"), 0, "the recipe says so")


def marked_encoding(head: bytes) -> Encoding | None:
    """The encoding that a byte order mark at the start names, if there is one."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return Encoding(name, len(mark), "by its mark")
    return None


def wide_encoding(head: bytes) -> Encoding | None:
    """UTF-16 without a mark, if that is what the first bytes are."""
    if len(head) < 4 or (len(head) % 2 and len(head) < 1000):
        return None
    if len(_NUL_OR_HIGH.findall(head)) < MIN_NUL_OR_HIGH * len(head):
        return None  # ASCII read as UTF-16 looks Chinese
    found = []
    for name in ("utf-16-le", "utf-16-be"):
        try:
            text = codecs.getincrementaldecoder(name)().decode(head[: len(head) // 2 * 2])
        except UnicodeDecodeError:
            continue
        share = len(_USUAL.findall(text)) / max(1, len(text))
        found.append((share, name))
    if found and max(found)[0] >= MIN_USUAL:
        return Encoding(max(found)[1], 0, "guessed")
    return None


def guess_encoding(lines: list[bytes]) -> Encoding:
    """The encoding of lines that are not all ASCII. Raises InputError for what is no text."""
    valid = sum(map(_is_utf8, lines))
    if valid >= MIN_VALID_LINES * len(lines):
        return Encoding("utf-8", 0, "valid" if valid == len(lines) else "mostly valid")
    sample = b"\n".join(lines)[:MAX_GUESSED_BYTES]
    try:
        import chardet
    except ImportError as error:
        raise MissingExtra("chardet, which finds encodings that are not UTF-8,", "data") from error
    name = chardet.detect(sample)["encoding"] or ""
    name = "gb18030" if name.lower() in _CHINESE else name
    try:
        name = codecs.lookup(name).name
        "\n".encode(name)
        if sum(_decodes(line, name) for line in lines) < MIN_VALID_LINES * len(lines):
            raise LookupError(name)
    except (LookupError, UnicodeError, TypeError) as error:
        raise InputError(
            "text in no encoding that is known",
            "such as UTF-8 or GB18030",
            "name it: encoding = … under [sources.NAME]",
        ) from error
    return Encoding(name, 0, "guessed")


def is_binary(head: bytes) -> bool:
    """Whether the first bytes hold more control characters than a damaged text would."""
    return len(_CONTROLS.findall(head)) > MAX_CONTROLS * len(head)


def _is_utf8(line: bytes) -> bool:
    return _decodes(line, "utf-8")


def _decodes(line: bytes, name: str) -> bool:
    try:
        line.decode(name)
    except UnicodeError:
        return False
    return True
