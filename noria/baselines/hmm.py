"""Hidden Markov tagger, counted from tagged sequences: each tag depends on the one or two before.

In: sequences of tokens (words, or the characters of Chinese) with their tags. Out: a tagger.
This module knows neither spans nor tokenizers; a token is any string.

Brants, "TnT: a statistical part-of-speech tagger" (2000); the likeliest path is Viterbi's, as in
Rabiner, "A tutorial on hidden Markov models" (1989), section III.B. A path's probability is

    product over i of  P(tag_i | tags before it) P(token_i | tag_i),  times P(end | last tags)

Legend: N tags, of which index N is the edge of a sequence; W known tokens; T tokens of a sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from noria.baselines.folders import (
    arrays_hash,
    read_array,
    read_facts,
    reading,
    write_folder,
)
from noria.baselines.unknown_words import UnknownWords, learn_unknown_words
from noria.errors import UsageError

HMM_FORMAT = 1
ORDERS = (1, 2)

Floats = NDArray[np.float64]
TaggedTokens = tuple[Sequence[str], Sequence[str]]


@dataclass(frozen=True, eq=False)
class HmmTagger:
    """All its probabilities, as natural logarithms.

    `transitions` (N+1,) * (order+1): the last axis is the tag that follows the others, or the end;
    `emissions` (W, N) is log P(token | tag), minus infinity if never seen together; `unknown`
    scores the tokens that are not known.
    """

    tags: tuple[str, ...]
    tokens: tuple[str, ...]
    transitions: Floats
    emissions: NDArray[np.float32]
    unknown: UnknownWords

    @property
    def order(self) -> int:
        """How many tags before it a tag depends on."""
        return self.transitions.ndim - 1

    @property
    def weight_hash(self) -> str:
        """SHA-256 (hex) of all it holds."""
        return arrays_hash(*self._contents())

    @cached_property
    def _places(self) -> dict[str, int]:
        return {token: index for index, token in enumerate(self.tokens)}

    def emission_scores(self, tokens: Sequence[str]) -> Float64[np.ndarray, "T N1"]:
        """log P(token | tag) up to a number for each token; no tag is the edge (N1 = N + 1)."""
        scores = np.full((len(tokens), len(self.tags) + 1), -np.inf)
        for row, token in zip(scores, tokens, strict=True):
            place = self._places.get(token)
            row[:-1] = self.unknown.scores(token) if place is None else self.emissions[place]
        return scores

    def tag(self, tokens: Sequence[str]) -> tuple[str, ...]:
        """The tags of the likeliest path."""
        best = np.full(self.transitions.shape[:-1], -np.inf)  # by the last `order` tags
        best[(-1,) * self.order] = 0.0  # before the first token, only the edge
        origins = []
        for scores in self.emission_scores(tokens):
            candidates = best[..., None] + self.transitions  # the oldest tag is the first axis
            origins.append(candidates.argmax(axis=0))
            best = candidates.max(axis=0) + scores
        ending = best + self.transitions[..., -1]
        last = np.unravel_index(ending.argmax(), ending.shape)
        path = [int(tag) for tag in reversed(last)]  # from the last token to the first
        for origin in reversed(origins):
            path.append(int(origin[tuple(reversed(path[-self.order :]))]))
        return tuple(self.tags[tag] for tag in reversed(path[: len(tokens)]))

    @property
    def labels(self) -> tuple[str, ...]:
        """The tags, as columns of `tag_probabilities`."""
        return self.tags

    def tag_probabilities(self, tokens: Sequence[str]) -> Float64[np.ndarray, "T N"]:
        """P(tag | tokens) of each token: forward times backward (Rabiner 1989, section III.A)."""
        scores = self.emission_scores(tokens)
        spoken = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-np.inf))  # (T, N + 1)
        moves = np.exp(self.transitions)
        forward = np.zeros(moves.shape[:-1])  # by the last `order` tags, as in `tag`
        forward[(-1,) * self.order] = 1.0
        forwards = []
        for row in spoken:
            forward = _to_one((forward[..., None] * moves).sum(axis=0) * row)
            forwards.append(forward)
        found = np.zeros((len(tokens), len(self.tags)))
        behind = moves[..., -1]
        for place in range(len(tokens) - 1, -1, -1):
            together = forwards[place] * behind
            found[place] = _to_one(together.sum(axis=tuple(range(self.order - 1)))[:-1])
            behind = _to_one((moves * (spoken[place] * behind)).sum(axis=-1))
        return found

    def batch_tag_probabilities(
        self, sequences: Sequence[Sequence[str]]
    ) -> list[Float64[np.ndarray, "T N"]]:
        """As `tag_probabilities`, of each sequence."""
        return [self.tag_probabilities(tokens) for tokens in sequences]

    def save(self, folder: Path) -> None:
        """Write hmm.json and three npy files into an existing folder."""
        write_folder(folder, "hmm", HMM_FORMAT, *self._contents())

    def _contents(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        facts = {
            "order": self.order,
            "tags": self.tags,
            "tokens": self.tokens,
            "endings": self.unknown.endings,
        }
        arrays: dict[str, NDArray[Any]] = {
            "transitions": self.transitions,
            "emissions": self.emissions,
            "unknown": self.unknown.log_scores,
        }
        return facts, arrays


def _to_one(values: Floats) -> Floats:
    """Scaled to sum to 1: products of hundreds of probabilities are too small for numbers."""
    scaled: Floats = values / values.sum()
    return scaled


def train_hmm(sequences: Sequence[TaggedTokens], order: int = 2) -> HmmTagger:
    """Count tokens, tags and their successions in sequences, each (tokens, tags).

    Raises UsageError for another order than 1 or 2, a sequence with another number of tags than
    tokens, or no token at all.
    """
    if order not in ORDERS:
        raise UsageError(f"order {order}", "1 or 2", "TnT has 2: a tag depends on two before it")
    for tokens, tags in sequences:
        if len(tokens) != len(tags):
            raise UsageError(
                f"{len(tokens)} tokens with {len(tags)} tags", "one for each", "check the data"
            )
    names = sorted({tag for _, tags in sequences for tag in tags})
    if not names:
        raise UsageError("no tagged token", "one at least", "give the tagger some sequences")
    numbers = {name: index for index, name in enumerate(names)}
    numbered = [[numbers[tag] for tag in tags] for _, tags in sequences]
    counts: dict[str, NDArray[np.int64]] = {}
    for (tokens, _), places in zip(sequences, numbered, strict=True):
        for token, place in zip(tokens, places, strict=True):
            counts.setdefault(token, np.zeros(len(names), dtype=np.int64))[place] += 1
    known = tuple(sorted(counts))
    table = np.stack([counts[token] for token in known])  # (W, N)
    per_tag = table.sum(axis=0)
    with np.errstate(divide="ignore"):
        emissions = np.log(table / per_tag).astype(np.float32)
    transitions = np.log(_transitions(numbered, len(names), order))
    unknown = learn_unknown_words(counts, per_tag)
    return HmmTagger(tuple(names), known, transitions, emissions, unknown)


def _transitions(sequences: Sequence[Sequence[int]], num_tags: int, order: int) -> Floats:
    """P(tag | those before it): what histories of each length say, interpolated.

    A history that was never seen says what its end says (TnT has 0 there, which does not sum to 1).
    """
    edge = [num_tags]
    counts = np.zeros((num_tags + 1,) * (order + 1))
    for tags in sequences:
        line = np.array(edge * order + [*tags] + edge)
        grams = tuple(line[start : len(line) - order + start] for start in range(order + 1))
        np.add.at(counts, grams, 1)
    by_length = [counts.sum(axis=tuple(range(order - k))) for k in range(order + 1)]
    weights = _interpolation(counts, by_length)
    estimate = np.zeros(num_tags + 1)
    mixed = np.zeros(num_tags + 1)
    for weight, count in zip(weights, by_length, strict=True):
        total = count.sum(axis=-1, keepdims=True)
        longer = np.broadcast_to(estimate, count.shape)
        estimate = np.divide(count, total, out=longer.copy(), where=total > 0)
        mixed = mixed + weight * estimate
    return mixed


def _interpolation(counts: Floats, by_length: Sequence[Floats]) -> list[float]:
    """The weight of each length of history by deleted interpolation (Brants 2000, figure 1).

    Each n-gram, left out once, votes with its count for the history that predicts it best, the
    shortest of equals. Every weight gets one vote more, so that nothing has probability 0.
    """
    grams = np.nonzero(counts)
    predicted = []
    for k, count in enumerate(by_length):
        ends = grams[len(grams) - 1 - k :]
        total = count.sum(axis=-1)[ends[:-1]]
        others = np.maximum(total - 1, 1)  # a history seen once predicts nothing: 0 / 1
        predicted.append((count[ends] - 1) / others)
    winner = np.stack(predicted).argmax(axis=0)
    votes = 1 + np.bincount(winner, weights=counts[grams], minlength=len(by_length))
    return [float(vote) for vote in votes / votes.sum()]


def load_hmm(folder: Path) -> HmmTagger:
    """Read a tagger back. Raises FormatError if a file is missing, cut or of another shape."""
    with reading(folder, "a hidden Markov tagger"):
        facts = read_facts(folder, "hmm", HMM_FORMAT)
        tags, tokens, endings = (tuple(facts[name]) for name in ("tags", "tokens", "endings"))
        transitions = read_array(folder, "transitions", "float64", int(facts["order"]) + 1)
        emissions = read_array(folder, "emissions", "float32", 2)
        unknown = read_array(folder, "unknown", "float32", 2)
        if transitions.ndim - 1 not in ORDERS or set(transitions.shape) != {len(tags) + 1}:
            raise ValueError(f"transitions of shape {transitions.shape}")
        shapes = (len(tokens), len(tags)), (len(endings), len(tags))
        if (emissions.shape, unknown.shape) != shapes or "" not in endings:
            raise ValueError("arrays of other lengths than the names")
        return HmmTagger(tags, tokens, transitions, emissions, UnknownWords(endings, unknown))
