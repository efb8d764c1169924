"""GloVe: vectors whose dot products say how often two tokens stand near each other.

In: one array of token ids in which `end_id` closes every document. Out: Vectors.
This module does not know what the vectors are used for.

Pennington, Socher & Manning, "GloVe: Global Vectors for Word Representation" (2014): equation 8
over X, the counts of pairs, each worth 1 / its distance, in a window on both sides (section 4.2)

    J = sum over X_ij > 0 of  f(X_ij) (w_i · w̃_j + b_i + b̃_j - ln X_ij)²

trained by AdaGrad with a learning rate of 0.05; a token's vector is w + w̃.
Legend: T tokens, P pairs that were seen, V vocabulary, C width.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from noria.baselines.documents import document_numbers, training_tokens
from noria.baselines.interface import Progress
from noria.baselines.vectors import Vectors
from noria.errors import TrainingError, UsageError

FULL_COUNT = 100.0  # x_max: pairs seen so often weigh 1
EXPONENT = 0.75  # alpha: how weights grow up to there
FIRST_SQUARES = 1.0  # what AdaGrad's sums of squares begin with, as in the authors' program
BATCH_PAIRS = 2048

Batch = tuple[Tensor, Tensor, Tensor]  # first, second, counts


@dataclass(frozen=True)
class GlovePlan:
    """`window_tokens` are looked at on each side."""

    width: int = 100
    window_tokens: int = 10
    num_epochs: int = 15
    learning_rate: float = 0.05
    seed: int = 0


@dataclass(frozen=True, eq=False)
class PairCounts:
    """`first` and `second` (P,) are ids of pairs, in order; `counts` (P,) their X, above 0."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    counts: NDArray[np.float64]


def count_pairs(
    tokens: NDArray[Any], vocab_size: int, window_tokens: int, *, end_id: int
) -> PairCounts:
    """Count the pairs of tokens of one document at most `window_tokens` apart, both ways.

    Raises UsageError for an id outside the vocabulary, or if no two tokens stand together.
    """
    ids = training_tokens(tokens, vocab_size, end_id)
    numbers = document_numbers(ids, end_id)
    keys = np.zeros(0, dtype=np.int64)
    counts: NDArray[np.float64] = np.zeros(0)
    for distance in range(1, min(window_tokens, len(ids) - 1) + 1):
        left, right = ids[:-distance], ids[distance:]
        together = (numbers[:-distance] == numbers[distance:]) & (right != end_id)
        left, right = left[together], right[together]
        found = np.concatenate([left * vocab_size + right, right * vocab_size + left])
        every = np.concatenate([keys, found])
        worth = np.concatenate([counts, np.full(len(found), 1 / distance)])
        keys, inverse = np.unique(every, return_inverse=True)
        counts = np.bincount(inverse, weights=worth).astype(np.float64)
    if not len(keys):
        raise UsageError("no two tokens in one document", "some text", "add documents")
    return PairCounts(keys // vocab_size, keys % vocab_size, counts)


class GloveNetwork(nn.Module):
    """w, b, w̃ and b̃; gradients are sparse, because a batch touches few rows."""

    def __init__(self, vocab_size: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.main = nn.Embedding(vocab_size, width + 1, sparse=True)  # (w, b) of each id
        self.context = nn.Embedding(vocab_size, width + 1, sparse=True)  # (w̃, b̃)
        for table in (self.main, self.context):
            nn.init.uniform_(table.weight, -0.5 / width, 0.5 / width, generator=generator)

    def forward(
        self, first: Int[Tensor, " P"], second: Int[Tensor, " P"], counts: Float[Tensor, " P"]
    ) -> Float[Tensor, ""]:
        """J over these pairs."""
        main, context = self.main(first), self.context(second)
        product = (main[:, :-1] * context[:, :-1]).sum(dim=-1)
        missed = product + main[:, -1] + context[:, -1] - counts.log()
        weights = (counts / FULL_COUNT).clamp(max=1) ** EXPONENT
        total: Tensor = (weights * missed**2).sum()
        return total


def train_glove(
    tokens: NDArray[Any],
    vocab_size: int,
    *,
    end_id: int,
    plan: GlovePlan | None = None,
    progress: Progress | None = None,
) -> Vectors:
    """Train vectors of all ids that stand beside others; the end token gets none.

    `progress(done, total)` counts epochs. Raises UsageError as `count_pairs` does, TrainingError if
    the loss stops being a number.
    """
    plan = plan or GlovePlan()
    pairs = count_pairs(tokens, vocab_size, plan.window_tokens, end_id=end_id)
    generator = torch.Generator().manual_seed(plan.seed)
    network = GloveNetwork(vocab_size, plan.width, generator)
    optimizer = torch.optim.Adagrad(
        network.parameters(), lr=plan.learning_rate, initial_accumulator_value=FIRST_SQUARES
    )
    for epoch in range(plan.num_epochs):
        with torch.sparse.check_sparse_tensor_invariants(False):  # type: ignore[no-untyped-call]
            loss = sum(_step(network, optimizer, batch) for batch in _batches(pairs, generator))
        if not isfinite(loss):
            raise TrainingError(f"a loss of {loss}", "a number", "lower the learning rate")
        if progress is not None:
            progress(epoch + 1, plan.num_epochs)
    with torch.no_grad():
        matrix = (network.main.weight + network.context.weight)[:, :-1].numpy().copy()
    matrix[~np.isin(np.arange(vocab_size), pairs.first)] = 0
    return Vectors(matrix)


def _step(network: GloveNetwork, optimizer: torch.optim.Optimizer, batch: Batch) -> float:
    loss = network(*batch)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def _batches(pairs: PairCounts, generator: torch.Generator) -> Iterator[Batch]:
    """All pairs once, shuffled."""
    columns = [torch.from_numpy(one) for one in (pairs.first, pairs.second)]
    counts = torch.from_numpy(pairs.counts).float()
    for chosen in torch.split(torch.randperm(len(counts), generator=generator), BATCH_PAIRS):
        yield columns[0][chosen], columns[1][chosen], counts[chosen]
