"""What a detector of one kind of identity is: a cheap look, a pattern, and a check if there is one.

In: nothing. Out: the type that the tables of detectors are made of, and what they share.
This module knows no kind of identity.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

Match = re.Match[str]
Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class View:
    """A text as cheap looks see it."""

    text: str
    lower: str
    shape: bytes  # digits are 0, letters a or A, what is no ASCII ?
    dense: bytes  # the same without what may stand between the digits of a number


Gate = Callable[[View], bool]

_DIGITS, _SMALL, _CAPITAL = b"0123456789", bytes(range(97, 123)), bytes(range(65, 91))
_SHAPE = bytes.maketrans(_DIGITS + _SMALL + _CAPITAL, b"0" * 10 + b"a" * 26 + b"A" * 26)


def view_of(text: str) -> View:
    """The text as cheap looks see it."""
    shape = text.encode("ascii", "replace").translate(_SHAPE)
    return View(text, text.lower(), shape, shape.translate(None, b" ().-/"))


def has_word(*words: str) -> Gate:
    """Whether one of these stands in a text, in small letters; a beginning is looked for once."""
    stems = tuple(dict.fromkeys(_stem(word, words) for word in words))

    def look(view: View) -> bool:
        has = view.lower.__contains__
        return any(map(has, stems)) and any(map(has, words))

    return look


def _stem(word: str, words: tuple[str, ...]) -> str:
    """What all have in common that share three letters at the beginning."""
    stem, alike = word, [one for one in words if one[:3] == word[:3]]
    while not all(one.startswith(stem) for one in alike):
        stem = stem[:-1]
    return stem


def has_shape(*shapes: bytes) -> Gate:
    """Whether one of these stands in a text's shape."""
    return lambda view: any(map(view.shape.__contains__, shapes))


def has_number(num_digits: int) -> Gate:
    """Whether a text has a number of so many digits, with up to three separators between two."""
    digits = b"0" * num_digits
    search = re.compile(rf"[0-9](?:[ ().\-/]{{0,3}}[0-9]){{{num_digits - 1}}}").search
    return lambda view: digits in view.dense and search(view.text) is not None


def has_match(pattern: str) -> Gate:
    """Whether a pattern is found; one that begins with a plain sign is found fast."""
    search = re.compile(pattern).search
    return lambda view: search(view.text) is not None


def either(*gates: Gate) -> Gate:
    """Whether one of these hits."""
    return lambda view: any(gate(view) for gate in gates)


def whole(match: Match) -> Range | None:
    """All that the pattern matched."""
    return match.span()


def secret(match: Match) -> Range | None:
    """The group `secret` alone: a label or an address around it stays."""
    return match.span("secret")


@dataclass(frozen=True)
class Detector:
    """A kind of identity: a cheap look that must hit first, its pattern, and what to replace.

    The pattern itself is 10 to 100 times as slow as the look. `judge` returns the range to replace,
    None if the match is something else after all.
    """

    kind: str
    gate: Gate
    pattern: re.Pattern[str]
    judge: Callable[[Match], Range | None] = whole


def compiled(pattern: str) -> re.Pattern[str]:
    r"""A pattern in verbose form; `\\d` and `\\s` are ASCII, texts come with narrow digits."""
    return re.compile(pattern, re.ASCII | re.VERBOSE)


LONG_NUMBER = has_number(7)
# A number may stand in a list ("…,…" or "…/…"), but is no part of a decimal or of "1,234,567".
NOT_AFTER = r"(?<![0-9][.\-])"
NOT_BEFORE = r"(?![.\-][0-9]|,[0-9]{3}(?![0-9]))"
