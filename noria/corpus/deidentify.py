"""Replace what identifies people and accounts by what kind of thing stood there.

In: a text. Out: the text with placeholders such as [EMAIL], and how many of each; the values
themselves are returned nowhere. Names and postal addresses are not found: no pattern tells them
from other words. This module does not know the patterns; `identities` does.
"""

from __future__ import annotations

import re

from noria.corpus.identities import DETECTORS, Detector

MAX_TURNS = 8  # a replacement may free the boundary of the next match; a second turn is rare
_FULL_WIDTH = re.compile(
    "[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff20\uff0e\uff0d\uff0b\uff08\uff09]"
)
_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}


def replace_identities(text: str) -> tuple[str, dict[str, int]]:
    """The text with placeholders, and how many identities of each kind were replaced.

    Doing it again changes nothing. Full-width digits and letters (１３８…) are read as plain ones.
    """
    counts: dict[str, int] = {}
    for _ in range(MAX_TURNS):
        changed = False
        for detector in DETECTORS:
            text, num_replaced = _replace(text, detector)
            if num_replaced:
                counts[detector.kind] = counts.get(detector.kind, 0) + num_replaced
                changed = True
        if not changed:
            break
    return text, counts


def _replace(text: str, detector: Detector) -> tuple[str, int]:
    # Character for character as long as the text, so that positions hold in both.
    plain = text if text.isascii() or not _FULL_WIDTH.search(text) else text.translate(_NARROW)
    if not detector.gate.search(plain):
        return text, 0
    pieces: list[str] = []
    position = 0
    for match in detector.pattern.finditer(plain):
        span = detector.judge(match)
        if span is not None:
            pieces += text[position : span[0]], f"[{detector.kind}]"
            position = span[1]
    return "".join(pieces) + text[position:], len(pieces) // 2
