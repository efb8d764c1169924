"""How surprising a text is to a small model of the corpus's own characters.

In: texts. Out: for each one its bits per byte under a trigram model of all the others, which is the
logarithm of its perplexity. This module knows neither tokens nor the baselines' models.

Counts of each length are smoothed by those of one less with a Dirichlet prior (MacKay & Peto 1995):
p(c | h) = (n(hc) + PRIOR p(c | h without its first)) / (n(h) + PRIOR); a character alone by the
uniform distribution over Unicode's first plane. A text's own counts are taken off before it is
measured. Runs of characters share counters by hash, so memory is bounded; sums are the same in any
order of the texts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from noria.corpus.shingles import ngrams

ORDER = 3
COUNTER_BITS = 22  # 4,194,304 counters of 4 bytes for each length: 50 MB in all
PRIOR = 4.0
NUM_CHARACTERS = 1 << 16
MAX_CHARACTERS = 20_000  # of a text, from its beginning: enough to judge it

Places = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class CharacterModel:
    """Counts of runs of one, two and three characters over all texts."""

    def __init__(self) -> None:
        self._counts = [np.zeros(1 << COUNTER_BITS, np.int32) for _ in range(ORDER)]
        self.num_characters = 0

    def add(self, text: str) -> None:
        """Count one text, or the beginning of a long one."""
        sample = text[:MAX_CHARACTERS]
        self.num_characters += len(sample)
        for counts, places in zip(self._counts, _places(sample), strict=True):
            np.add.at(counts, places, 1)

    def bits_per_byte(self, text: str) -> float:
        """Bits per byte of one of the texts that were counted, its own counts taken off."""
        sample = text[:MAX_CHARACTERS]
        if not sample:
            return 0.0
        num_contexts: Floats = np.full(len(sample), float(self.num_characters - len(sample)))
        probability: Floats = np.full(len(sample), 1 / NUM_CHARACTERS)
        for length, places in enumerate(_places(sample), start=1):
            found = self._of_others(length, places)
            after = slice(length - 1, None)  # the characters that such a run ends with
            smoothed = (found + PRIOR * probability[after]) / (num_contexts[after] + PRIOR)
            probability[after] = np.minimum(smoothed, 1)  # counters may be shared
            num_contexts[length:] = found[:-1]  # what ends here stands before the next character
        return float(-np.log2(probability).sum() / len(sample.encode("utf-8", "replace")))

    def _of_others(self, length: int, places: Places) -> Floats:
        """How often each run stands in the other texts."""
        _, inverse, own = np.unique(places, return_inverse=True, return_counts=True)
        return (self._counts[length - 1][places] - own[inverse]).astype(np.float64)


def _places(text: str) -> list[Places]:
    """For each length the counter of each run, in order."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    shift = np.uint64(64 - COUNTER_BITS)
    return [(ngrams(codes, size) >> shift).astype(np.int64) for size in range(1, ORDER + 1)]
