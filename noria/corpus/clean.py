"""Clean a text: one form for what looks the same.

In: a text. Out: the text in NFC, with `\\n` as its line ending, without control characters and
invisible ones, without runs of spaces inside a line (indentation stays, it has a meaning in
Markdown and code) and without more than one blank line. What a text says is never changed.
"""

from __future__ import annotations

import re
import unicodedata

_LINE_ENDS = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_SPACES = re.compile(
    "[\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]"
)  # typographic: one kind is enough
# Controls but tab and newline; soft hyphen; zero-width space and joiners of words, marks that turn
# the direction of writing, byte order marks. (U+200C and U+200D stay: Persian and emoji need them.)
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff"
    "\ufffe\uffff]"
)
_HALF_PAIRS = re.compile(
    "[\ud800-\udfff]"
)  # what JSON escapes can smuggle in; not writable as UTF-8
_INNER_RUN = re.compile(r"(?<=\S)[ \t]{2,}(?=\S)")
_LINE_TAIL = re.compile(r"[ \t]+(?=\n)")
_BLANK_LINES = re.compile(r"\n{3,}")


def clean_text(text: str) -> str:
    """The text in its one clean form; cleaning again changes nothing."""
    if not text.isascii():
        text = _SPACES.sub(" ", _HALF_PAIRS.sub("\ufffd", text))
    text = _INVISIBLE.sub("", _LINE_ENDS.sub("\n", text))
    text = _LINE_TAIL.sub("", _INNER_RUN.sub(" ", text))
    text = _BLANK_LINES.sub("\n\n", text).strip(" \t\n")
    # Last, for a letter and its accent may have met only now.
    return text if text.isascii() else unicodedata.normalize("NFC", text)
