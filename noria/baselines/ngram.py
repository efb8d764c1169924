"""Interpolated modified Kneser-Ney n-grams over token ids: what the Transformer has to beat.

In: one array of token ids in which `end_id` stands before, between and after the documents.
Out: natural log probabilities of ids, and the model as a folder of npy files.
This module knows nothing of text, tokenizers or torch.

Chen & Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling" (1998), eq. 4.34:

    p(w | h) = (a(hw) - D(a(hw))) / sum_v a(hv)  +  gamma(h) p(w | h without its first token)

a() counts occurrences for the longest n-grams, and for those that begin a document, because
nothing can stand before them; for every other n-gram it counts the different tokens seen before
it. The shortest distribution is mixed with the uniform one, so that nothing has probability 0.

Shapes: T tokens; N_k different n-grams of length k; V vocabulary. An n-gram of length k is stored
as the rank of its key = (rank of its first k-1 tokens) * V + last token among all such keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noria.baselines.documents import check_ids, training_tokens, with_leading_end
from noria.baselines.folders import read_array, read_facts, reading, write_folder
from noria.errors import UsageError

NGRAM_FORMAT = 1
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)  # KenLM's `--discount_fallback`, for corpora too small

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class NgramModel:
    """A trained n-gram model; index k-1 of each tuple belongs to n-grams of length k.

    `keys[k-1]` (N_k,) int64, sorted, are the n-grams (of length 1: the vocabulary itself);
    `probabilities[k-1]` (N_k,) are p(last token | those before), already interpolated;
    `backoffs[k-1]` (N_k,) is gamma of that n-gram as a context (absent for the longest).
    """

    vocab_size: int
    order: int
    end_id: int
    keys: tuple[Ids, ...]
    probabilities: tuple[Floats, ...]
    backoffs: tuple[Floats, ...]

    @property
    def num_ngrams(self) -> int:
        """How many different n-grams of every length are stored."""
        return sum(len(keys) for keys in self.keys)

    @property
    def weight_hash(self) -> str:
        """SHA-256 (hex) of all it holds: the name under which its scores are stored."""
        digest = hashlib.sha256(f"{self.vocab_size} {self.order} {self.end_id}".encode())
        for array in (*self.keys, *self.probabilities, *self.backoffs):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def log_probs(self, ids: Sequence[int] | NDArray[Any]) -> NDArray[np.float64]:
        """Natural log P(ids[i] | up to order-1 ids before it), after a leading `end_id`.

        Contexts do not cross an `end_id` inside `ids`. Shape (len(ids),).
        Raises UsageError for an id outside the vocabulary.
        """
        tokens: Ids = with_leading_end(np.asarray(ids, dtype=np.int64), self.end_id, always=True)
        check_ids(tokens, self.vocab_size)
        reach = _reach(tokens, self.end_id)
        probability = self.probabilities[0][tokens].astype(np.float64)  # (T,)
        shorter = tokens  # rank of the n-gram of length k-1 that ends here, -1: never seen
        for k in range(2, self.order + 1):
            at = np.flatnonzero(reach >= k)
            at = at[shorter[at - 1] >= 0]  # an unseen context says nothing: keep the shorter one
            context = shorter[at - 1]
            rank = _find(self.keys[k - 1], context * self.vocab_size + tokens[at])
            backed_off = self.backoffs[k - 2][context] * probability[at]
            stored = self.probabilities[k - 1][np.maximum(rank, 0)]
            probability[at] = np.where(rank >= 0, stored, backed_off)
            shorter = np.full(len(tokens), -1, dtype=np.int64)
            shorter[at] = rank
        return np.log(probability[1:])

    def save(self, folder: Path) -> None:
        """Write ngram.json and one npy file an array into an existing folder."""
        arrays: dict[str, NDArray[Any]] = {}
        for k in range(1, self.order + 1):
            arrays[f"keys-{k}"] = self.keys[k - 1]
            arrays[f"probabilities-{k}"] = self.probabilities[k - 1]
            if k < self.order:
                arrays[f"backoffs-{k}"] = self.backoffs[k - 1]
        facts = {"vocab_size": self.vocab_size, "order": self.order, "end_id": self.end_id}
        write_folder(folder, "ngram", NGRAM_FORMAT, facts, arrays)


@dataclass(frozen=True)
class _Level:
    """The different n-grams of one length: keys, rank of each without its first token, counts."""

    keys: Ids  # (N_k,)
    suffix: Ids  # (N_k,) ranks among n-grams of length k-1
    count: Ids  # (N_k,) how often seen
    begins: NDArray[np.bool_]  # (N_k,) whether it begins a document: its first token is end_id


def train_ngram(
    tokens: NDArray[Any],
    vocab_size: int,
    order: int = 5,
    *,
    end_id: int,
    discount_scale: float = 1.0,
) -> NgramModel:
    """Count n-grams up to `order` tokens long and smooth them.

    `discount_scale` scales the discounts that the counts of counts suggest.

    `tokens` (T,) holds documents, each closed by `end_id`; a leading `end_id` is added if absent.
    Raises UsageError for an id outside the vocabulary or if there is nothing to count.
    """
    if order < 1:
        raise UsageError(f"order {order}", "1 or more", "5 is usual")
    tokens = training_tokens(tokens, vocab_size, end_id)
    levels = _count(tokens, vocab_size, order, end_id)
    uniform = np.full(vocab_size, 1.0 / vocab_size)
    keys: list[Ids] = []
    probabilities: list[NDArray[np.float64]] = []
    backoffs: list[Floats] = []
    for k, level in enumerate(levels, start=1):
        counts = _adjusted_counts(level, levels[k] if k < order else None)
        num_contexts = 1 if k == 1 else len(levels[k - 2].keys)
        lower = uniform if k == 1 else probabilities[-1][level.suffix]
        context = level.keys // vocab_size
        probability, gamma = _smooth(counts, context, num_contexts, lower, discount_scale)
        keys.append(level.keys)
        probabilities.append(probability)
        if k > 1:
            backoffs.append(gamma.astype(np.float32))
    return NgramModel(
        vocab_size,
        order,
        end_id,
        tuple(keys),
        tuple(p.astype(np.float32) for p in probabilities),
        tuple(backoffs),
    )


def _reach(tokens: Ids, end_id: int) -> Ids:
    """Length of the longest n-gram that ends at each position: back to the last end_id before it.

    The first position is the leading end_id, which nobody predicts: 0.
    """
    position = np.arange(len(tokens), dtype=np.int64)
    start = np.maximum.accumulate(np.where(tokens == end_id, position, 0))
    reach = np.zeros(len(tokens), dtype=np.int64)
    reach[1:] = position[1:] - start[:-1] + 1
    return reach


def _count(tokens: Ids, vocab_size: int, order: int, end_id: int) -> list[_Level]:
    reach = _reach(tokens, end_id)
    ids = tokens  # (T,) rank of the n-gram of the current length that ends here
    counts = np.bincount(tokens[1:], minlength=vocab_size)
    nothing = np.zeros(vocab_size, dtype=np.int64)
    everything = np.arange(vocab_size, dtype=np.int64)
    levels = [_Level(everything, nothing, counts, np.zeros(vocab_size, dtype=bool))]
    for k in range(2, order + 1):
        at = np.flatnonzero(reach >= k)
        keys, first, inverse, count = np.unique(
            ids[at - 1] * vocab_size + tokens[at],
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        seen_at = at[first]
        levels.append(_Level(keys, ids[seen_at], count, reach[seen_at] == k))
        longer = np.full(len(tokens), -1, dtype=np.int64)
        longer[at] = inverse
        ids = longer
    return levels


def _adjusted_counts(level: _Level, longer: _Level | None) -> Ids:
    """a(): occurrences, or how many different tokens were seen before the n-gram."""
    if longer is None:
        return level.count
    different = np.bincount(longer.suffix, minlength=len(level.keys))
    return np.where(level.begins, level.count, different)


def _discounts(counts: Ids) -> NDArray[np.float64]:
    """D(0), D(1), D(2), D(3 and more) from how many n-grams were counted 1, 2, 3, 4 times.

    Chen & Goodman (1998), eq. 4.35; where the corpus is too small for it, KenLM's fallback.
    """
    n = np.bincount(np.minimum(counts, 5), minlength=6).astype(np.float64)
    if n[1:5].min() > 0:
        y = n[1] / (n[1] + 2 * n[2])
        d = np.array([0.0] + [j - (j + 1) * y * n[j + 1] / n[j] for j in (1, 2, 3)])
        if np.all(d[1:] > 0) and np.all(d[1:] <= (1, 2, 3)):
            return d
    return np.array((0.0, *FALLBACK_DISCOUNTS))


def _smooth(
    counts: Ids, context: Ids, num_contexts: int, lower: NDArray[np.float64], scale: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Interpolated probability of each n-gram, and gamma of each context (1 where never seen)."""
    scaled = np.minimum(scale * _discounts(counts), (0, 1, 2, 3))  # never more than was counted
    discount = scaled[np.minimum(counts, 3)]  # (N_k,)
    total = np.bincount(context, weights=counts, minlength=num_contexts)
    taken = np.bincount(context, weights=discount, minlength=num_contexts)
    gamma = np.divide(taken, total, out=np.ones(num_contexts), where=total > 0)
    return (counts - discount) / total[context] + gamma[context] * lower, gamma


def _find(keys: Ids, wanted: Ids) -> Ids:
    """Rank of each wanted key among the sorted keys, -1 where it is not there."""
    if not len(keys):
        return np.full(len(wanted), -1, dtype=np.int64)
    rank = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[rank] == wanted, rank, -1)


def load_ngram(folder: Path) -> NgramModel:
    """Read a saved model back. Raises FormatError if a file is missing, cut or of another shape."""
    with reading(folder, "an n-gram model"):
        facts = read_facts(folder, "ngram", NGRAM_FORMAT)
        order = int(facts["order"])
        keys = tuple(read_array(folder, f"keys-{k}", "int64") for k in range(1, order + 1))
        probabilities = tuple(
            read_array(folder, f"probabilities-{k}", "float32") for k in range(1, order + 1)
        )
        backoffs = tuple(read_array(folder, f"backoffs-{k}", "float32") for k in range(1, order))
        sizes = [len(array) for array in keys]
        if [len(p) for p in probabilities] != sizes or [len(b) for b in backoffs] != sizes[:-1]:
            raise ValueError("arrays of different lengths")
        return NgramModel(
            int(facts["vocab_size"]), order, int(facts["end_id"]), keys, probabilities, backoffs
        )
