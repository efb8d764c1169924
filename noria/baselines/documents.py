"""One array of token ids in which an end token closes every document: what baselines train on.

In: ids. Out: the same ids checked, with the end token before them, or cut into documents.
This module does not know what an id stands for.
Legend: T tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from noria.errors import UsageError


def with_leading_end(
    tokens: Int64[np.ndarray, " T"], end_id: int, *, always: bool
) -> Int64[np.ndarray, " T2"]:
    """Put the end token before the ids: always, or only where they do not begin with it."""
    if not always and len(tokens) and tokens[0] == end_id:
        return tokens
    return np.concatenate([np.array([end_id], dtype=np.int64), tokens])


def check_ids(tokens: NDArray[np.int64], vocab_size: int) -> None:
    """Raises UsageError unless there is one row of ids, all from 0 to vocab_size - 1."""
    if tokens.ndim != 1 or tokens.min() < 0 or tokens.max() >= vocab_size:
        raise UsageError(
            f"token ids from {tokens.min()} to {tokens.max()}, shape {tokens.shape}",
            f"one row of ids from 0 to {vocab_size - 1}",
            "use the tokenizer that the model was trained with",
        )


def training_tokens(tokens: NDArray[Any], vocab_size: int, end_id: int) -> Int64[np.ndarray, " T"]:
    """The ids to train on, checked, with an end token before the first document.

    Raises UsageError for an id outside the vocabulary or if there is nothing to learn from.
    """
    ids = with_leading_end(tokens.astype(np.int64), end_id, always=False)
    check_ids(ids, vocab_size)
    if len(ids) < 2:
        raise UsageError("no token to learn from", "at least one", "give the model some text")
    return ids


def document_numbers(tokens: Int64[np.ndarray, " T"], end_id: int) -> Int64[np.ndarray, " T"]:
    """The number of each token's document, from 0; an end token belongs to what it closes."""
    ends = tokens == end_id
    numbers: NDArray[np.int64] = np.cumsum(ends) - ends
    return numbers
