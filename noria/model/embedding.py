"""Ids to vectors, and, when tied, vectors back to a score for each token.

Legend: B batch, T tokens, C width, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


class TokenEmbedding(nn.Module):
    """One vector for each id; the same matrix scores hidden vectors (Press & Wolf 2017)."""

    def __init__(self, vocab_size: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, width))

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T C"]:
        """A look-up: row `id` of the matrix, for each id."""
        return F.embedding(ids, self.weight)

    def floats(self) -> Float[Tensor, "V C"]:
        """The matrix."""
        return self.weight

    def scores(self, hidden: Float[Tensor, "... C"]) -> Float[Tensor, "... V"]:
        """The product of each hidden vector with each token's vector."""
        return F.linear(hidden, self.weight)


class OutputLayer(nn.Linear):
    """A matrix of its own that scores hidden vectors, where it is not the embedding."""

    def __init__(self, width: int, vocab_size: int) -> None:
        super().__init__(width, vocab_size, bias=False)

    def floats(self) -> Float[Tensor, "V C"]:
        """The matrix."""
        return self.weight
