"""Text to tokens and back to places in the text: what taggers are trained on, and asked about.

In: any text. Out: tokens, each with the characters [start, end) that it stands on; joined with what
lies between them (white space, control and invisible characters) they are the text again.
This module does not know tags, models or sub-word vocabularies.

A token is a run of letters, digits and underscores; or one character of a script that is written
without spaces (Chinese, Japanese, Thai and their neighbours); or one mark, with what belongs to it:
combining marks, and whatever a joiner ties to an emoji. An address of the web or of a mailbox is
one token. Spans of any scheme fit on tokens so small, unless they cut a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

PASSAGE_TOKENS = 256  # of a passage that is read at once; sentences are far shorter

_SPACE, _WORD, _ALONE, _BOUND, _FLAG = range(5)
_JOINER = "\u200d"  # ties the emoji before it to the one behind it (UTS 51)
# Ends in a letter, digit or slash: a full stop or bracket behind it belongs to the sentence.
_ADDRESS = re.compile(
    r"(?:https?://|www\.)[!-~]*[A-Za-z0-9/]"
    r"|[A-Za-z0-9][A-Za-z0-9._%+-]*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}"
)
_SENTENCE_ENDS = frozenset(".!?。！？…")
# Scripts without spaces: Thai to Myanmar, Khmer, radicals to kana and Bopomofo, ideographs and
# their later planes, half-width kana (Unicode 15, Blocks.txt).
_UNSPACED = (
    (0x0E00, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x2E80, 0x312F),
    (0x31A0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),
    (0x1B000, 0x1B16F),
    (0x20000, 0x3FFFF),
)


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a text: characters [start, end)."""

    text: str
    start: int
    end: int


def tokens_of(text: str) -> list[Token]:
    """All tokens of a text, in order; none of an empty one. Time grows as the text does."""
    found: list[Token] = []
    start = 0
    for address in _ADDRESS.finditer(text):
        found += _plain(text, start, address.start())
        found.append(Token(address.group(), *address.span()))
        start = address.end()
    found += _plain(text, start, len(text))
    return found


def words_of(text: str) -> list[str]:
    """The tokens of a text without their places."""
    return [token.text for token in tokens_of(text)]


def passages(
    text: str, tokens: Sequence[Token], num_tokens: int = PASSAGE_TOKENS
) -> Iterator[tuple[int, int]]:
    """Cut a text's tokens into passages of at most so many: (first, last + 1) of each.

    A line's end always cuts; a longer line is cut behind the last sentence that fits, or, where
    none ends in its second half, anywhere.
    """
    start = 0
    for end in [*_line_ends(text, tokens), len(tokens)]:
        while end - start > num_tokens:
            cut = start + num_tokens
            for place in range(cut, start + num_tokens // 2, -1):
                if tokens[place - 1].text[0] in _SENTENCE_ENDS:
                    cut = place
                    break
            yield start, cut
            start = cut
        if end > start:
            yield start, end
            start = end


def is_unspaced(character: str) -> bool:
    """Whether a character is of a script that puts no spaces between words."""
    code = ord(character)
    return code >= 0x0E00 and any(first <= code <= last for first, last in _UNSPACED)


def _line_ends(text: str, tokens: Sequence[Token]) -> Iterator[int]:
    """The places of tokens before which a line ends."""
    for place in range(1, len(tokens)):
        between = text[tokens[place - 1].end : tokens[place].start]
        if between and "\n" in between:
            yield place


def _plain(text: str, start: int, end: int) -> Iterator[Token]:
    """The tokens of characters [start, end), among which is no address."""
    first, kind = start, _SPACE  # of the token that is open; _SPACE if none is
    for place in range(start, end):
        new = _kind(text[place])
        if kind != _SPACE:
            bound = new == _BOUND or (kind != _WORD and text[place - 1] == _JOINER)
            if (bound and new != _SPACE) or (new == kind == _WORD):
                continue
            if new == kind == _FLAG and place == first + 1:  # two of them are one flag (UTS 51)
                continue
            yield Token(text[first:place], first, place)
        first, kind = place, new
    if kind != _SPACE:
        yield Token(text[first:end], first, end)


@lru_cache(maxsize=1 << 16)
def _kind(character: str) -> int:
    """What a character does to the token before it."""
    category = unicodedata.category(character)
    code = ord(character)
    if character == _JOINER or category[0] == "M" or 0x1F3FB <= code <= 0x1F3FF:  # skin tones
        return _BOUND
    if 0xE0020 <= code <= 0xE007F:  # tags, which spell the flags of regions
        return _BOUND
    if character.isspace() or category in ("Zs", "Zl", "Zp", "Cc", "Cf"):
        return _SPACE
    if 0x1F1E6 <= code <= 0x1F1FF:
        return _FLAG
    if (character.isalnum() or character == "_") and not is_unspaced(character):
        return _WORD
    return _ALONE
