"""What the tests of baselines share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from noria.tokenizer.load import Tokenizer


@dataclass(frozen=True)
class Corpus:
    tokenizer_folder: Path
    tokenizer: Tokenizer
    tokens: np.ndarray  # training documents, each closed by the end token
    training: list[str]
    held_out: list[str]


def paragraphs_of(paths: Iterable[Path]) -> list[str]:
    """Pieces of running text of sixty words each."""
    found = []
    for path in paths:
        words = path.read_text(encoding="utf-8").split()
        found += [" ".join(words[start : start + 60]) for start in range(0, len(words), 60)]
    return found


def joined(documents: Iterable[Sequence[int]], end_id: int) -> np.ndarray:
    return np.array([one for ids in documents for one in (*ids, end_id)], dtype=np.uint16)


TWINS = {1: 2, 2: 1, 3: 4, 4: 3, 5: 6, 6: 5}


def company(num_sentences: int, seed: int) -> np.ndarray:
    """Sentences of a token between two others, which mostly tell which pair of twins it is of.

    1 and 2 stand between 7 and 8, 3 and 4 between 9 and 10, 5 and 6 between 11 and 12, nine times
    of ten; twins never meet. Documents are closed by 0.
    """
    random = np.random.default_rng(seed)
    sentences = []
    for _ in range(num_sentences):
        pair = int(random.integers(3))
        beside = [
            7 + 2 * (pair if random.random() < 0.9 else int(random.integers(3))) + one
            for one in random.permutation(2)
        ]
        sentences.append([beside[0], 1 + 2 * pair + int(random.integers(2)), beside[1]])
    return joined(sentences, 0)
