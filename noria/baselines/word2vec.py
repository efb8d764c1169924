"""Word2Vec over token ids: a vector for each id that predicts the ids around it, by gensim.

In: one array of token ids in which `end_id` closes every document. Out: Vectors. Needs the extra
`vectors`. This module does not know what the vectors are used for.

Mikolov et al., "Distributed Representations of Words and Phrases and their Compositionality"
(2013): skip-gram with negative sampling and fewer of the frequent ids.
Legend: T tokens, V vocabulary, C width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.baselines.documents import document_numbers, training_tokens
from noria.baselines.vectors import Vectors
from noria.errors import MissingExtra

MAX_SENTENCE_TOKENS = 10_000  # gensim leaves out what is beyond


@dataclass(frozen=True)
class Word2VecPlan:
    """`window_tokens` are looked at on each side; `num_negatives` drawn for each that was there.

    Of ids that are more frequent than `kept_whole`, a share of the text, occurrences are left out.
    """

    width: int = 100
    window_tokens: int = 5
    num_negatives: int = 5
    kept_whole: float = 1e-3
    num_epochs: int = 5
    seed: int = 0


def train_word2vec(
    tokens: NDArray[Any], vocab_size: int, *, end_id: int, plan: Word2VecPlan | None = None
) -> Vectors:
    """Train vectors of all ids that documents hold; the end token gets none.

    One thread, so that the same ids and seed give the same vectors. Raises MissingExtra without
    gensim, UsageError for an id outside the vocabulary or if there is nothing to learn from.
    """
    plan = plan or Word2VecPlan()
    ids = training_tokens(tokens, vocab_size, end_id)
    try:
        from gensim.models import Word2Vec
    except ImportError as error:
        raise MissingExtra("gensim, which trains Word2Vec,", "vectors") from error
    trained = Word2Vec(
        _sentences(ids, end_id),
        vector_size=plan.width,
        window=plan.window_tokens,
        negative=plan.num_negatives,
        sample=plan.kept_whole,
        epochs=plan.num_epochs,
        seed=plan.seed,
        sg=1,
        min_count=1,
        workers=1,
    )
    matrix = np.zeros((vocab_size, plan.width), dtype=np.float32)
    matrix[[int(word) for word in trained.wv.index_to_key]] = trained.wv.vectors
    return Vectors(matrix)


def _sentences(ids: NDArray[np.int64], end_id: int) -> list[list[str]]:
    """Documents without their end tokens, in pieces that gensim reads whole."""
    numbers = document_numbers(ids, end_id)
    documents = np.split(ids, np.flatnonzero(np.diff(numbers)) + 1)
    sentences = []
    for document in documents:
        words = [str(one) for one in document if one != end_id]
        for start in range(0, len(words), MAX_SENTENCE_TOKENS):
            sentences.append(words[start : start + MAX_SENTENCE_TOKENS])
    return sentences
