"""Token ids to vectors, and, when tied, vectors back to a score for each token.

Legend: B batch, T tokens, C width, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TokenEmbedding(nn.Module):
    """One vector a token; the same matrix scores hidden vectors (Press & Wolf 2017)."""

    def __init__(self, vocab_size: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab_size, width))

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) int64 -> (B, T, C)."""
        return F.embedding(ids, self.weight)

    def scores(self, hidden: Tensor) -> Tensor:
        """(…, C) -> (…, V)."""
        return F.linear(hidden, self.weight)
