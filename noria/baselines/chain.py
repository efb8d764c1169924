"""What a chain of tags comes to: the probability of each tag at each token, and the best path.

In: scores of tags at tokens, and of tags behind tags. Out: marginals, or a path. A path's score is
the sum of both along it; its probability is in proportion to the exponential. This module does not
know where scores come from.

Rabiner 1989, "A tutorial on hidden Markov models", sections III.A (forward and backward, each step
scaled to sum to 1) and III.B (Viterbi); Lafferty et al. 2001 for scores that are no probabilities.
Legend: B sequences, T tokens of the longest, N tags.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64

Scores = Float64[np.ndarray, "T N"]
BATCH_TOKENS = 1 << 14  # of sequences that go through together, padding included


def all_marginals(
    sequences: Sequence[Scores], transitions: Float64[np.ndarray, "N N"]
) -> list[Scores]:
    """P(tag at token | the whole sequence), for each sequence (T, N); rows sum to 1.

    transitions[i, j]: the score of tag j behind tag i, in natural logarithms as all scores are.
    """
    found: list[Scores] = [np.zeros_like(one) for one in sequences]
    by_length = sorted((len(one), place) for place, one in enumerate(sequences) if len(one))
    while by_length:
        longest = by_length[-1][0]
        num = max(1, BATCH_TOKENS // longest)
        places = [place for _, place in by_length[-num:]]
        del by_length[-num:]
        lengths = np.array([len(sequences[place]) for place in places])
        padded = np.zeros((len(places), longest, transitions.shape[0]))
        for row, place in zip(padded, places, strict=True):
            row[: len(sequences[place])] = sequences[place]
        for row, place in zip(_marginals(padded, lengths, transitions), places, strict=True):
            found[place] = row[: len(sequences[place])]
    return found


def _marginals(
    scores: Float64[np.ndarray, "B T N"],
    lengths: Int64[np.ndarray, " B"],
    transitions: Float64[np.ndarray, "N N"],
) -> Float64[np.ndarray, "B T N"]:
    """As `all_marginals`, of padded sequences; what stands in the padding means nothing."""
    spoken = np.exp(scores - scores.max(axis=2, keepdims=True))
    steps = np.exp(transitions - transitions.max())
    forward = np.empty_like(spoken)
    forward[:, 0] = _to_one(spoken[:, 0])
    for place in range(1, spoken.shape[1]):
        forward[:, place] = _to_one((forward[:, place - 1] @ steps) * spoken[:, place])
    behind = np.ones_like(spoken[:, 0])  # (B, N): what the tokens behind this one say of its tag
    for place in range(spoken.shape[1] - 1, -1, -1):
        is_last = (lengths - 1 <= place)[:, None]
        behind = np.where(is_last, 1.0, behind)
        forward[:, place] = _to_one(forward[:, place] * behind)
        behind = _to_one((behind * spoken[:, place]) @ steps.T)
    marginals: Float64[np.ndarray, "B T N"] = forward
    return marginals


def _to_one(rows: Float64[np.ndarray, "B N"]) -> Float64[np.ndarray, "B N"]:
    scaled: Float64[np.ndarray, "B N"] = rows / rows.sum(axis=1, keepdims=True)
    return scaled


def best_path(scores: Scores, transitions: Float64[np.ndarray, "N N"]) -> list[int]:
    """The tag of each token on the path with the highest score; of equals the first tags."""
    if not len(scores):
        return []
    best = scores[0]
    origins = np.zeros(scores.shape, dtype=np.int64)
    for place in range(1, len(scores)):
        candidates = best[:, None] + transitions  # from (rows) to (columns)
        origins[place] = candidates.argmax(axis=0)
        best = candidates.max(axis=0) + scores[place]
    path = [int(best.argmax())]
    for place in range(len(scores) - 1, 0, -1):
        path.append(int(origins[place, path[-1]]))
    return path[::-1]
