"""What tag a token never seen may have: told by how it ends and what it looks like.

In: the rare tokens of the training data with their tags. Out: log P(token | tag) up to a number.
This module does not know sequences.

Brants 2000, section 2.3: rare tokens stand for unknown ones. P(tag | ending) is smoothed from
short endings to long ones, P_i = (P̂(tag | ending of i letters) + θ P_{i-1}) / (1 + θ), where θ is
the standard deviation of the tags' probabilities; Bayes turns it round: P(token | tag) is in
proportion to P(tag | ending) / P(tag). Endings are counted apart for each look of a token, where
TnT has two, capitalised or not.

Legend: N tags, S endings.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import NDArray

RARE_COUNT = 10  # Brants 2000: endings are learnt from tokens seen at most so often
MAX_ENDING = 5  # TnT has 10; longer endings are nearly always whole words, and cost memory


@dataclass(frozen=True, eq=False)
class UnknownWords:
    """`endings` are looks and endings, such as "small:ing"; `log_scores` (S, N) belong to them.

    The first is empty: any token at all.
    """

    endings: tuple[str, ...]
    log_scores: NDArray[np.float32]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {ending: index for index, ending in enumerate(self.endings)}

    def scores(self, token: str) -> Float64[np.ndarray, " N"]:
        """log P(token | tag) + a number that is the same for all tags, by the longest ending."""
        known = (one for one in reversed(endings_of(token)) if one in self._places)
        scores: NDArray[np.float32] = self.log_scores[self._places[next(known)]]
        return scores.astype(np.float64)


def look(token: str) -> str:
    """What a token looks like: has digits, capitalised, small letters, no case, or only marks."""
    if any(character.isdigit() for character in token):
        return "number"
    if token[:1].isupper():
        return "capital"
    if any(character.islower() for character in token):
        return "small"
    if any(unicodedata.category(character).startswith("L") for character in token):
        return "caseless"
    return "mark"


def endings_of(token: str) -> list[str]:
    """From no letters to the longest ending, the look before each."""
    prefix = look(token) + ":"
    longest = min(len(token), MAX_ENDING)
    return ["", *(prefix + token[len(token) - size :] for size in range(longest + 1))]


def learn_unknown_words(
    tag_counts: Mapping[str, Int64[np.ndarray, " N"]], all_counts: Int64[np.ndarray, " N"]
) -> UnknownWords:
    """Count the endings of rare tokens and smooth them.

    `tag_counts`: how often each token had each tag. `all_counts`: how often each tag was seen at
    all, once at least. Where no ending is known, a tag is as likely as among all rare tokens,
    smoothed in the same way by how likely it is among all tokens.
    """
    counts: dict[str, NDArray[np.int64]] = {"": np.zeros_like(all_counts)}
    for token, of_tags in tag_counts.items():
        if of_tags.sum() <= RARE_COUNT:
            for ending in endings_of(token):
                counts[ending] = counts.get(ending, 0) + of_tags
    overall = all_counts / all_counts.sum()
    theta = float(np.std(overall, ddof=1)) if len(overall) > 1 else 0.0
    smoothed: dict[str, NDArray[np.float64]] = {}
    for ending in sorted(counts, key=lambda one: (len(one), one)):
        shorter = smoothed[_shorter(ending)] if ending else overall
        total = counts[ending].sum()
        seen = counts[ending] / total if total else shorter
        smoothed[ending] = (seen + theta * shorter) / (1 + theta)
    with np.errstate(divide="ignore"):  # equally frequent tags: theta is 0, and nothing is smoothed
        rows = np.log(np.stack(list(smoothed.values()))) - np.log(overall)
    return UnknownWords(tuple(smoothed), rows.astype(np.float32))


def _shorter(ending: str) -> str:
    """The ending with a letter less; of a look alone, any token at all."""
    name, _, letters = ending.partition(":")
    return f"{name}:{letters[1:]}" if letters else ""
