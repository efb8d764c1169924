"""What a linear tagger sees at each token: the token, how it is written, and its neighbours.

In: the tokens of a sequence. Out: names of features, a list for each token. This module knows
neither tags nor weights.

The usual ones of named-entity taggers (Ratinov and Roth 2009, section 3; for Chinese, Peng and
Dredze 2015: characters in a row around the one that is tagged). Which of them count is learned.
A dictionary (extra `data`) adds the Chinese words that the characters are in, and their kinds.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from noria.corpus.segment import tag_words

WORDS_BY = ("spaces", "dictionary")
REACH = 2  # tokens to each side that are seen
MAX_AFFIX = 4
EDGE = "\n"  # no token: stands beyond both ends


def token_features(tokens: Sequence[str], words_by: str = "spaces") -> list[list[str]]:
    """Names of the features of each token; the same name means the same thing everywhere.

    words_by: "spaces" for what the tokens say alone, or "dictionary". Raises MissingExtra.
    """
    found = _features_by_spaces(tokens)
    if words_by == "dictionary" and any(_is_unspaced(token) for token in tokens):
        for names, more in zip(found, _dictionary_features(tokens), strict=True):
            names += more
    return found


def _features_by_spaces(tokens: Sequence[str]) -> list[list[str]]:
    padded = [EDGE] * REACH + list(tokens) + [EDGE] * REACH
    words = [_small(one) for one in padded]
    shapes = [shape(one) for one in padded]
    found = []
    for at in range(REACH, len(padded) - REACH):
        before, here, after = words[at - 1], words[at], words[at + 1]
        two_before, two_after = words[at - 2], words[at + 2]
        here_shape = shapes[at]
        names = [
            "1",  # how frequent a tag is by itself
            f"a={two_before}",
            f"b={before}",
            f"d={after}",
            f"e={two_after}",
            f"ab={two_before} {before}",
            f"bc={before} {here}",
            f"cd={here} {after}",
            f"de={after} {two_after}",
            f"bd={before} {after}",
            f"B={shapes[at - 1]}",
            f"D={shapes[at + 1]}",
            f"BCD={shapes[at - 1]} {here_shape} {shapes[at + 1]}",
            *_own_features(padded[at]),
        ]
        if len(here) == 1:  # of one character, as in Chinese: words are several of them
            names.append(f"abc={two_before} {before} {here}")
            names.append(f"bcd={before} {here} {after}")
            names.append(f"cde={here} {after} {two_after}")
        found.append(names)
    return found


def _dictionary_features(tokens: Sequence[str]) -> list[list[str]]:
    """The word that each token is in, whether it begins or ends there, and the words beside."""
    words, places = _words_around(tokens)
    found = []
    for at, place in enumerate(places):
        (before, kind_before), (word, kind), (after, kind_after) = words[place : place + 3]
        begins = at == 0 or places[at - 1] != place
        ends = at == len(places) - 1 or places[at + 1] != place
        here = f"{kind}{'B' if begins else 'I'}{'E' if ends else ''}"
        found.append(
            [
                f"W={word}",
                f"V={before}",
                f"X={after}",
                f"k={here}",
                f"jk={kind_before} {here}",
                f"kl={here} {kind_after}",
                f"jkl={kind_before} {here} {kind_after}",
            ]
        )
    return found


def _words_around(tokens: Sequence[str]) -> tuple[list[tuple[str, str]], list[int]]:
    """The words of the dictionary with an edge at both ends; and how many stand before each
    token's."""
    text, starts = "", []
    for at, token in enumerate(tokens):
        if at and not (_is_unspaced(tokens[at - 1]) and _is_unspaced(token)):
            text += " "
        starts.append(len(text))
        text += token
    words = tag_words(text)
    ends = np.cumsum([len(word) for word, _ in words])
    places = np.searchsorted(ends, starts, side="right")
    return [(EDGE, EDGE), *words, (EDGE, EDGE)], [int(place) for place in places]


def _is_unspaced(token: str) -> bool:
    """Of one character beyond ASCII: in Chinese text, all but foreign words and numbers."""
    return len(token) == 1 and not token.isascii()


@lru_cache(maxsize=1 << 16)
def shape(token: str) -> str:
    """How a token is written: X for capitals, x for small letters, 0 for digits, runs once.

    Letters without case are "c"; marks stay as they are.
    """
    kinds: list[str] = []
    for character in token[:64]:
        kind = _kind(character)
        if not kinds or kinds[-1] != kind:
            kinds.append(kind)
    return "".join(kinds)


def _kind(character: str) -> str:
    if character.isdigit():
        return "0"
    if character.isupper():
        return "X"
    if character.islower():
        return "x"
    return "c" if unicodedata.category(character)[0] == "L" else character


@lru_cache(maxsize=1 << 16)
def _small(token: str) -> str:
    return token.lower()


@lru_cache(maxsize=1 << 16)
def _own_features(token: str) -> tuple[str, ...]:
    """Those that no other token decides."""
    word = _small(token)
    longest = min(MAX_AFFIX, len(word) - 1)
    return (
        f"c={word}",
        f"w={token}",
        f"C={shape(token)}",
        f"n={min(len(token), 12)}",
        *(f"p={word[:size]}" for size in range(1, longest + 1)),
        *(f"s={word[-size:]}" for size in range(1, longest + 1)),
    )
