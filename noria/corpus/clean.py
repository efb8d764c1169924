"""Clean a text: one form for what looks the same.

In: a text. Out: the text in NFC, with `\\n` as its line ending, without control characters and
invisible ones, without runs of spaces inside a line (indentation stays, it has a meaning in
Markdown and code) and without more than one blank line. What a text says is never changed.

Three choices go further where a recipe makes them: text that was decoded by the wrong table is
repaired (ftfy, extra `data`), full-width letters become plain ones, and Chinese is written in one
of its two ways (OpenCC, extra `data`).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from noria.corpus.chinese import convert_chinese, variant_characters
from noria.corpus.language import has_chinese
from noria.errors import MissingExtra
from noria.text_settings import CorpusSettings

MAX_TURNS = 8  # one choice may bring about what another changes; a third turn is rare

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
_INNER_RUN = re.compile(r"[ \t](?<=\S[ \t])[ \t]+(?=\S)")  # a space first: found faster
_LINE_TAIL = re.compile(r"[ \t]+(?=\n)")
_BLANK_LINES = re.compile(r"\n{3,}")

# Full-width letters, digits and signs. Not the punctuation ，！？：；（）～ which is Chinese and
# Japanese as it stands; a full stop only between digits.
_WIDE = {
    code: code - 0xFEE0
    for code in range(0xFF01, 0xFF5F)
    if chr(code) not in "！（），．：；？［］｛｝～"
}
_WIDE_POINT = re.compile(r"(?<=[0-9])．(?=[0-9])")
_HALF_WIDTH = re.compile("[\uff61-\uff9f]+|[\uffa0-\uffdc]+")  # katakana, hangul of old terminals


@dataclass(frozen=True)
class Choices:
    """What is changed beyond the one clean form, as the recipe's corpus settings name it."""

    mojibake: str = "keep"  # or repair
    width: str = "keep"  # or plain
    chinese: str = "keep"  # or simplified, traditional

    def check(self) -> None:
        """Raises MissingExtra if a choice needs a library that is not installed."""
        if self.mojibake == "repair":
            _fixer()
        if self.chinese != "keep":
            variant_characters()


PLAIN = Choices()


def choices_of(settings: CorpusSettings) -> Choices:
    """The choices of a recipe."""
    return Choices(settings.mojibake, settings.width, settings.chinese)


def clean_text(text: str, choices: Choices = PLAIN) -> str:
    """The text in its one clean form; cleaning again changes nothing.

    Raises MissingExtra if a choice needs a library that is not installed.
    """
    if choices == PLAIN:
        return _one_form(text)
    for _ in range(MAX_TURNS):
        before, text = text, _turn(text, choices)
        if text == before:
            break
    return text


def _turn(text: str, choices: Choices) -> str:
    if choices.mojibake == "repair" and not text.isascii():
        fix, config = _fixer()
        text = fix(text, config)
    if choices.width == "plain" and not text.isascii():
        text = _WIDE_POINT.sub(".", text.translate(_WIDE))
        text = _HALF_WIDTH.sub(lambda run: unicodedata.normalize("NFKC", run[0]), text)
    text = _one_form(text)
    if choices.chinese != "keep" and has_chinese(text):
        text = convert_chinese(text, choices.chinese)
    return text


def _one_form(text: str) -> str:
    # Whatever is replaced by the first four is not printable; most texts are, but for line ends.
    if not text.replace("\n", "").replace("\t", "").isprintable():
        text = _SPACES.sub(" ", _HALF_PAIRS.sub("\ufffd", text))
        text = _INVISIBLE.sub("", _LINE_ENDS.sub("\n", text))
    if "  " in text or "\t" in text:
        text = _INNER_RUN.sub(" ", text)
    if " \n" in text or "\t\n" in text:
        text = _LINE_TAIL.sub("", text)
    if "\n\n\n" in text:
        text = _BLANK_LINES.sub("\n\n", text)
    text = text.strip(" \t\n")
    # Last, for a letter and its accent may have met only now.
    return text if text.isascii() else unicodedata.normalize("NFC", text)


@lru_cache(maxsize=1)
def _fixer() -> tuple[Any, Any]:
    """ftfy, set to mend wrong decoding and nothing else: quotes, ligatures and HTML stay."""
    try:
        from ftfy import TextFixerConfig, fix_text
    except ImportError as error:
        raise MissingExtra("ftfy, which repairs wrongly decoded text,", "data") from error
    return fix_text, TextFixerConfig(
        unescape_html=False,
        remove_terminal_escapes=False,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        fix_line_breaks=False,
        fix_surrogates=False,
        remove_control_chars=False,
        normalization=None,
        explain=False,
    )
