"""Sentences and words, in English and in Chinese, which divides neither by spaces.

In: a text. Out: its sentences, its words, and the words that say too little to tell texts apart.
Needs the extra `data`: pysbd's rules for sentences, jieba's dictionary for Chinese words (rjieba),
stopwordsiso's lists. Stop words are for classical baselines: a language model needs them all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from noria.corpus.language import guess_script
from noria.errors import MissingExtra

STOP_LANGUAGES = ("en", "zh")

_HAN_RUN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
_WORD = re.compile(
    "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
    "|(?:(?![\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])\\w)+"
)
_HALF_PAIRS = re.compile("[\ud800-\udfff]")
_CLOSING = re.compile(r"^[”’」』）》〉】)\]]+")


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, in order, without the spaces between them.

    A line ends a sentence; each line is read by the rules of its script. Raises MissingExtra.
    """
    found: list[str] = []
    for line in filter(None, map(str.strip, text.split("\n"))):
        rules = _sentence_rules("zh" if guess_script(line) == "zh" else "en")
        in_line: list[str] = []
        for piece in rules.segment(line):
            closing = _CLOSING.match(piece) if in_line else None
            if closing:  # a quotation mark belongs to the sentence that it closes
                in_line[-1] += closing[0]
                piece = piece[closing.end() :]
            if piece.strip():
                in_line.append(piece.strip())
        found += in_line
    return found


def split_words(text: str) -> list[str]:
    """The words of a text in small letters, without signs; Chinese by dictionary.

    Raises MissingExtra if there is Chinese.
    """
    words: list[str] = []
    for run in _WORD.findall(text.lower()):
        words += _cutter()(run) if _HAN_RUN.match(run) else [run]
    return words


@lru_cache(maxsize=1)
def stop_words() -> frozenset[str]:
    """English and Chinese words that say too little alone. Raises MissingExtra."""
    try:
        from stopwordsiso import stopwords
    except ImportError as error:
        raise MissingExtra("stopwordsiso, which lists stop words,", "data") from error
    return frozenset(stopwords(list(STOP_LANGUAGES)))


@lru_cache(maxsize=2)
def _sentence_rules(language: str) -> Any:
    try:
        from pysbd import Segmenter
    except ImportError as error:
        raise MissingExtra("pysbd, which finds sentences,", "data") from error
    return Segmenter(language=language, clean=False)


def tag_words(text: str) -> list[tuple[str, str]]:
    """The words of Chinese text with jieba's tags of what kind each is; together they are the text.

    Needs no model: words and kinds are those of a dictionary, names that it lacks those of the
    hidden Markov model that comes with it. Raises MissingExtra.
    """
    whole = _HALF_PAIRS.sub("\ufffd", text)  # the library takes nothing that UTF-8 lacks
    return [(word, kind) for word, kind in _tagger()(whole)]


@lru_cache(maxsize=1)
def _tagger() -> Callable[[str], list[tuple[str, str]]]:
    try:
        from rjieba import tag
    except ImportError as error:
        raise MissingExtra("rjieba, which finds Chinese words,", "data") from error
    found: Callable[[str], list[tuple[str, str]]] = tag
    return found


@lru_cache(maxsize=1)
def _cutter() -> Callable[[str], list[str]]:
    try:
        from rjieba import cut
    except ImportError as error:
        raise MissingExtra("rjieba, which finds Chinese words,", "data") from error
    found: Callable[[str], list[str]] = cut
    return found
