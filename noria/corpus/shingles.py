"""Texts as digests and as hashed n-grams: what de-duplication and decontamination compare.

In: a text. Out: a digest of it, or 64-bit hashes, the same on every machine and in every run
(Python's own `hash` is not). The unit is a word, and in Chinese a character.
"""

from __future__ import annotations

import hashlib
import re
from typing import final

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

MAX_KNOWN_WORDS = 500_000  # about 75 MB; then it starts again

_UNIT = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]|[^\\W\u3040-\u9fff]+"
)
_SPACED = {code: " " for code in range(128) if not _UNIT.fullmatch(chr(code))}
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio, odd: Knuth, TAOCP 6.4


def text_digest(text: str) -> bytes:
    """16 bytes that name a text."""
    return hashlib.sha256(text.encode("utf-8")).digest()[:16]


def normal_digest(text: str) -> bytes:
    """16 bytes that name a text but for spaces and capital letters."""
    return text_digest(" ".join(text.casefold().split()))


@final
class _Hashed(dict[str, int]):
    """The hash of each word that was asked for."""

    def __missing__(self, word: str) -> int:
        digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
        self[word] = found = int.from_bytes(digest, "little")
        return found


@final
class WordHasher:
    """Hashes words, and remembers them: a corpus repeats its words."""

    def __init__(self) -> None:
        self._known = _Hashed()

    def words(self, text: str) -> Hashes:
        """Hash of each word (Chinese: character) in order, small and capital letters alike."""
        known = self._known
        if len(known) > MAX_KNOWN_WORDS:
            known.clear()
        small = text.lower()
        # The same units, of which most texts have no others, several times as fast.
        units = small.translate(_SPACED).split() if small.isascii() else _UNIT.findall(small)
        return np.fromiter(map(known.__getitem__, units), np.uint64, len(units))


def word_range(text: str, first: int, last: int) -> str:
    """The passage of words [first, last) of a text, in small letters, with what stands between."""
    small = text.lower()
    spans = [match.span() for match in _UNIT.finditer(small)][first:last]
    return small[spans[0][0] : spans[-1][1]] if spans else ""


def ngrams(words: Hashes, size: int) -> Hashes:
    """Hash of each run of `size` words, in order; fewer words than that make no run."""
    if len(words) < size:
        return words[:0]
    end = len(words) - size + 1
    total = words[:end].copy()
    for step in range(1, size):
        total *= _FACTOR
        total += words[step : step + end]
    return mix(total)


def mix(values: Hashes) -> Hashes:
    """Spread 64-bit values over all bits (the finaliser of SplitMix64, Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
