"""Drop training records that share a long passage with what is measured on.

In: the three splits. Out: the training records that share no run of 13 words (Chinese: 26
characters) with a held-out or test record. 13 words as in Brown et al. 2020, appendix C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np

from noria.corpus.deduplicate import whole_text
from noria.corpus.language import guess_script
from noria.corpus.shingles import Hashes, WordHasher, ngrams
from noria.records import Record

RUN_WORDS = 13
RUN_CHARACTERS = 26

RecordT = TypeVar("RecordT", bound=Record)


def drop_contaminated(
    train: Sequence[RecordT],
    measured: Iterable[Record],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[RecordT], list[RecordT]]:
    """Part training records into clean ones and those that share a passage with a measured one."""
    hasher = WordHasher()
    runs = [_runs(hasher, record) for record in measured]
    known = np.unique(np.concatenate(runs)) if runs else np.zeros(0, np.uint64)
    clean: list[RecordT] = []
    dropped: list[RecordT] = []
    for index, record in enumerate(train):
        shared = _any_in(_runs(hasher, record), known)
        (dropped if shared else clean).append(record)
        progress(index + 1, len(train))
    return clean, dropped


def _runs(hasher: WordHasher, record: Record) -> Hashes:
    text = whole_text(record)
    size = RUN_CHARACTERS if guess_script(text) == "zh" else RUN_WORDS
    return ngrams(hasher.words(text), size)


def _any_in(values: Hashes, known: Hashes) -> bool:
    """Whether any value is in the sorted array `known`."""
    if not len(values) or not len(known):
        return False
    places = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return bool((known[places] == values).any())
