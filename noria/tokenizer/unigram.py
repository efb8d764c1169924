"""Train a Unigram vocabulary: the tokens, and the probability of each.

In: pieces of text as bytes with their counts, and candidate tokens. Out: tokens with their
log-probabilities. After Kudo 2018 (Subword Regularization): expectation maximisation over all
divisions of each piece, then the tokens whose loss hurts least are dropped, until few enough are
left. Ours and not the library's, whose results differ from run to run: the same input gives the
same output, bit for bit. This module does not know files, nor where text is cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAX_PIECE_BYTES = 32  # so that a product of probabilities stays within float64
NUM_PASSES = 2  # of expectation maximisation between two droppings
KEPT_SHARE = 0.75  # of the tokens that are left after a dropping
LOWEST = 1e-9  # of a probability: 32 bytes of them are 1e-288

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Lattice:
    """Every place where a token fits into a piece; edges are sorted by where they end.

    lengths (P,) of the pieces in bytes; of E edges: piece, start, end, token, each (E,).
    """

    lengths: _Ints
    piece: _Ints
    start: _Ints
    end: _Ints
    token: _Ints


def train_unigram(
    counts: Mapping[bytes, int], candidates: Sequence[bytes], num_tokens: int
) -> list[tuple[bytes, float]]:
    """The `num_tokens` best tokens of the candidates, likeliest first, with log-probabilities.

    counts: each piece (1 to 32 bytes) and how often it stands in the text. Every single byte is
    kept, whatever its probability, so `num_tokens` is at least 256; fewer come out where there are
    fewer candidates.
    """
    tokens = [bytes([byte]) for byte in range(256)]
    tokens += sorted({one for one in candidates if 1 < len(one) <= MAX_PIECE_BYTES})
    pieces = sorted(counts)
    weights = np.array([counts[one] for one in pieces], np.float64)
    text, own = _lattice(pieces, tokens), _lattice(tokens, tokens)
    alive = np.ones(len(tokens), bool)
    chances = _chances(_summed(text.token, weights[text.piece], len(tokens)), alive)
    while True:
        for _ in range(NUM_PASSES):
            expected = _expected(text, weights, chances)
            chances = _chances(expected, alive)
        if alive.sum() <= num_tokens:
            break
        kept = max(num_tokens, int(alive.sum() * KEPT_SHARE))
        alive = _dropped(own, expected, chances, alive, kept)
        chances = np.where(alive, chances, 0.0)
    order = sorted(np.flatnonzero(alive), key=lambda one: (-chances[one], tokens[one]))
    return [(tokens[one], float(np.log(chances[one]))) for one in order]


def _lattice(pieces: Sequence[bytes], tokens: Sequence[bytes]) -> _Lattice:
    number_of = {token: number for number, token in enumerate(tokens)}
    longest = max(map(len, tokens))
    edges = [
        (end, number, start, number_of[piece[start:end]])
        for number, piece in enumerate(pieces)
        for start in range(len(piece))
        for end in range(start + 1, min(len(piece), start + longest) + 1)
        if piece[start:end] in number_of
    ]
    table = np.array(edges, np.int64).reshape(-1, 4)
    end, piece, start, token = table[np.argsort(table[:, 0], kind="stable")].T
    return _Lattice(np.array([len(one) for one in pieces], np.int64), piece, start, end, token)


def _sums(lattice: _Lattice, chances: _Floats) -> tuple[_Floats, _Floats]:
    """Probability of all divisions of what stands before and behind each place: two (P, 33)."""
    num_pieces = len(lattice.lengths)
    before = np.zeros((num_pieces, MAX_PIECE_BYTES + 1))
    behind = np.zeros_like(before)
    before[:, 0] = 1.0
    behind[np.arange(num_pieces), lattice.lengths] = 1.0
    bounds = np.searchsorted(lattice.end, np.arange(MAX_PIECE_BYTES + 2))
    for end in range(1, MAX_PIECE_BYTES + 1):
        edges = slice(bounds[end], bounds[end + 1])
        piece = lattice.piece[edges]
        found = before[piece, lattice.start[edges]] * chances[lattice.token[edges]]
        before[:, end] = np.bincount(piece, found, num_pieces)
    for end in range(MAX_PIECE_BYTES, 0, -1):  # all that starts at `end` has been added by now
        edges = slice(bounds[end], bounds[end + 1])
        piece, start = lattice.piece[edges], lattice.start[edges]
        found = behind[piece, end] * chances[lattice.token[edges]]
        behind += np.bincount(piece * (MAX_PIECE_BYTES + 1) + start, found, behind.size).reshape(
            behind.shape
        )
    return before, behind


def _expected(lattice: _Lattice, weights: _Floats, chances: _Floats) -> _Floats:
    """How often each token is expected in the text."""
    before, behind = _sums(lattice, chances)
    piece, token = lattice.piece, lattice.token
    through = before[piece, lattice.start] * chances[token] * behind[piece, lattice.end]
    share = weights / behind[:, 0]
    return _summed(token, through * share[piece], len(chances))


def _summed(places: _Ints, values: _Floats, size: int) -> _Floats:
    """The sum of the values at each of `size` places."""
    return np.bincount(places, values, size).astype(np.float64, copy=False)


def _chances(expected: _Floats, alive: npt.NDArray[np.bool_]) -> _Floats:
    """Probabilities from expected counts; what is alive never falls to nothing."""
    chances = np.maximum(expected / expected[alive].sum(), LOWEST)
    return np.where(alive, chances, 0.0)


def _dropped(
    own: _Lattice,
    expected: _Floats,
    chances: _Floats,
    alive: npt.NDArray[np.bool_],
    num_kept: int,
) -> npt.NDArray[np.bool_]:
    """Keep the tokens whose loss would cost the text most, and every single byte."""
    before, _ = _sums(own, chances)
    whole = before[np.arange(len(own.lengths)), own.lengths]
    without = np.maximum(whole - chances, 1e-300)
    cost = np.full(len(alive), -np.inf)
    cost[alive] = expected[alive] * (np.log(chances[alive]) - np.log(without[alive]))
    cost[:256] = np.inf
    order = np.argsort(-cost, kind="stable")
    kept = np.zeros(len(cost), bool)
    kept[order[:num_kept]] = True
    return kept & alive
