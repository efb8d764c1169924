"""What a linear tagger sees at each token: the token, how it is written, and its neighbours.

In: the tokens of a sequence. Out: names of features, a list for each token. This module knows
neither tags nor weights.

The usual ones of named-entity taggers (Ratinov and Roth 2009, section 3; for Chinese, Peng and
Dredze 2015: characters in a row around the one that is tagged). Which of them count is learned.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

REACH = 2  # tokens to each side that are seen
MAX_AFFIX = 4
EDGE = "\n"  # no token: stands beyond both ends


def token_features(tokens: Sequence[str]) -> list[list[str]]:
    """Names of the features of each token; the same name means the same thing everywhere."""
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
