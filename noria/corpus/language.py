"""Which language, by the script alone: enough to choose words or characters as the unit.

In: a text. Out: `en` (mostly Latin letters, whatever the language), `zh` or `other`.
"""

from __future__ import annotations

import re

SAMPLE_CHARACTERS = 4000
MIN_HAN = 0.3  # share of letters: Chinese texts quote Latin names, and a Han character says more
MIN_LATIN = 0.5
MAX_KANA = 0.1  # share of kana beside Han from which a text is Japanese

_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]")
_KANA = re.compile("[\u3041-\u30ff]")
_LETTER = re.compile(r"[^\W\d_]")


def guess_language(text: str) -> str:
    """Name the language of a text's first characters: 'en', 'zh' or 'other'."""
    sample = text[:SAMPLE_CHARACTERS]
    if sample.isascii():
        return "en" if _LATIN.search(sample) else "other"
    num_letters = len(_LETTER.findall(sample))
    num_han, num_kana = len(_HAN.findall(sample)), len(_KANA.findall(sample))
    if num_han and num_kana <= MAX_KANA * (num_han + num_kana) and num_han >= MIN_HAN * num_letters:
        return "zh"
    if num_letters and len(_LATIN.findall(sample)) >= MIN_LATIN * num_letters:
        return "en"
    return "other"
