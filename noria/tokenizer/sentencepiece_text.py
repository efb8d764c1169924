"""How SentencePiece writes a text before it divides it: the same characters, in the same order.

In: a text. Out: the text that its vocabulary is made of: characters replaced (`charsmap`), spaces
as "▁" (U+2581), one before the first word where the model was trained so, runs of spaces as one
where it was trained so. After src/normalizer.cc of sentencepiece 0.2. This module does not know
vocabularies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from noria.tokenizer.charsmap import read_charsmap

SPACE = "▁"
_RUN = re.compile(" {2,}")


@dataclass(frozen=True)
class Spelling:
    """What a model's file says of its normaliser.

    adds_prefix: a space before every text (`add_dummy_prefix`); drops_spaces: none at the ends and
    one for a run (`remove_extra_whitespaces`); charsmap: the compiled replacements, may be none;
    kept: the texts that are never replaced, the user's own symbols. Raises ValueError, when it is
    first used, for a charsmap that is torn.

    hides: a character that is written as U+0020, which no written text has otherwise, so that a
    text never spells the names of control tokens that hold it; "" for none.
    """

    adds_prefix: bool
    drops_spaces: bool
    charsmap: bytes = b""
    kept: frozenset[str] = frozenset()
    hides: str = ""

    def write(self, text: str, continues: bool = False) -> str:
        """The text as the vocabulary has it; no prefix where it continues another."""
        prefix = SPACE if self.adds_prefix and not continues else ""
        if self.charsmap:
            written = "".join(one for one, _ in self._written(self._replaced(text), prefix))
        else:
            if self.drops_spaces:
                text = _RUN.sub(" ", text.lstrip(" "))
            written = prefix + text.replace(" ", SPACE) if text else ""
            if self.drops_spaces:
                written = written.rstrip(SPACE)
        return written.replace(self.hides, " ") if self.hides else written

    def places(self, text: str) -> list[int]:
        """For each character of `write(text)` the place of that which it was written for."""
        prefix = SPACE if self.adds_prefix else ""
        parts = self._replaced(text) if self.charsmap else [(one, 1) for one in text]
        return [place for one, place in self._written(parts, prefix) for _ in one]

    def _written(self, parts: Iterable[tuple[str, int]], prefix: str) -> Iterator[tuple[str, int]]:
        """The parts with spaces as they are written, each with its place; their lengths are read.

        What is written of nothing but white space is nothing.
        """
        found: list[tuple[str, int]] = []
        after_space = self.drops_spaces
        begun = False
        place = 0
        for part, length in parts:
            if not begun and not (self.drops_spaces and part == " "):
                begun = True
                found.append((prefix, place))
            written = part.lstrip(" ") if after_space else part
            if written:
                found.append((written.replace(" ", SPACE), place))
                after_space = self.drops_spaces and written.endswith(" ")
            place += length
        while self.drops_spaces and found:
            last, place = found.pop()
            if rest := last.rstrip(SPACE):
                found.append((rest, place))
                break
        yield from found

    def _replaced(self, text: str) -> Iterator[tuple[str, int]]:
        """What each part of a text becomes, with the part's length in the text."""
        at, rules = 0, self._rules
        while at < len(text):
            first = text[at]
            for length, table in rules.get(first, ()):
                part = text[at : at + length]
                if part in table:
                    yield table[part], length
                    at += length
                    break
            else:
                yield first, 1
                at += 1

    @cached_property
    def _rules(self) -> dict[str, list[tuple[int, Mapping[str, str]]]]:
        """By its first character how long a text may be and where it is looked up.

        What is kept goes first, and of each kind the longest.
        """
        found: dict[str, list[tuple[int, Mapping[str, str]]]] = {}
        for table in ({one: one for one in self.kept}, read_charsmap(self.charsmap)):
            sizes = {(text[0], len(text)) for text in table}
            for first, length in sorted(sizes, key=lambda one: -one[1]):
                found.setdefault(first, []).append((length, table))
        return found
