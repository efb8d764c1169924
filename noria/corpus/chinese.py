"""Simplified and traditional Chinese: which of both a text is in, and from one to the other.

In: a text. Out: counts of the characters that only one of both has, or the text converted by
OpenCC's tables of phrases (extra `data`). This module does not know other languages: who calls it
makes sure that a text is Chinese.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from noria.errors import MissingExtra

_PROFILES = {"simplified": "tw2s", "traditional": "s2t"}  # tw2s reads 著 and 着 by phrase


def count_variants(text: str) -> tuple[int, int]:
    """How many characters of a text are simplified only, and how many traditional only."""
    simplified, traditional = variant_characters()
    return sum(one in simplified for one in text), sum(one in traditional for one in text)


def convert_chinese(text: str, to: str) -> str:
    """The text in 'simplified' or 'traditional' characters, if it is not in them already.

    A text that is mostly traditional is never converted to it again: the tables would take what it
    rightly shares with simplified writing (面, 合) for simplified. Raises MissingExtra.
    """
    num_simplified, num_traditional = count_variants(text)
    if to == "traditional" and num_simplified <= num_traditional:
        return text
    if to == "simplified" and not num_traditional:
        return text
    converted: str = _converter(_PROFILES[to]).convert(text)
    return converted


@lru_cache(maxsize=1)
def variant_characters() -> tuple[frozenset[str], frozenset[str]]:
    """Characters that only simplified and only traditional Chinese has.

    Those that OpenCC changes and that the other's national character set (Big5, GB 2312) lacks:
    里 and 后 are simplified for 裏 and 後, and at home in traditional text too.
    Raises MissingExtra.
    """
    characters = [chr(code) for code in range(0x4E00, 0xA000)]
    lines = "\n".join(characters)
    to_simple = _converter("t2s").convert(lines).split("\n")
    to_traditional = _converter("s2t").convert(lines).split("\n")
    rows = list(zip(characters, to_simple, to_traditional, strict=True))
    return (
        frozenset(one for one, _, other in rows if other != one and not _in_set(one, "big5")),
        frozenset(one for one, other, _ in rows if other != one and not _in_set(one, "gb2312")),
    )


def _in_set(character: str, encoding: str) -> bool:
    return bool(character.encode(encoding, "ignore"))


@lru_cache(maxsize=2)
def _converter(profile: str) -> Any:
    try:
        from opencc import OpenCC
    except ImportError as error:
        raise MissingExtra("OpenCC, which knows both ways of writing Chinese,", "data") from error
    return OpenCC(profile)
