"""Inserted identities: values from a seed put into sentences, with the range of each.

In: sentences, kinds with their makers and carriers, a seed. Out: texts and ranges. This module
does not know what a value looks like.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence

from inserted_identities import Make
from leaks import Marked

Kinds = Mapping[str, tuple[Make, tuple[str, ...]]]
Text = tuple[str, list[Marked]]

_BETWEEN_WORDS = re.compile(
    r"(?<=[a-z,]) (?=[a-z])(?!people|persons|dollars|cents|pounds)|(?<=[\u4e00-\u9fff，])"
    r"(?=[\u4e00-\u9fff])(?![人个条次年元万亿千块吨])"
)  # a phone's digits before "人" or "people" are an amount


def sentences_of(texts: Sequence[str], language: str) -> list[str]:
    """Sentences of 20 to 240 characters without a digit or an @: they hold no inserted kind."""
    ends = r"(?<=[。！？])" if language == "zh" else r"(?<=[.!?])\s+"
    pieces = (piece for text in texts for piece in re.split(ends, text))
    joined = (" ".join(piece.split()) for piece in pieces)
    return [one for one in joined if 20 <= len(one) <= 240 and not re.search(r"[0-9０-９@]", one)]


def texts_with_identities(
    sentences: Sequence[str], kinds: Kinds, num_each: int, seed: int, gap: str
) -> list[Text]:
    """`num_each` texts of each kind: a real sentence, a value in its carrier, a real sentence.

    A carrier "{}" is no sentence: the value stands bare between two words of a real one.
    """
    rng = random.Random(seed)
    texts = []
    for kind, (make, carriers) in kinds.items():
        for number in range(num_each):
            before, after = rng.choice(sentences), rng.choice(sentences)
            head, tail = carriers[number % len(carriers)].split("{}")
            places = [match.end() for match in _BETWEEN_WORDS.finditer(before)]
            if head + tail == "" and places:
                place = rng.choice(places)
                head, tail, after = before[:place], gap + before[place:], gap + after
            else:
                head, after = before + gap + head, gap + after
            value = make(rng)
            marked = Marked(len(head), len(head) + len(value), kind)
            texts.append((head + value + tail + after, [marked]))
    return texts
