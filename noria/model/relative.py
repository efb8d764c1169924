"""T5's relative positions: a learned number for each distance, added to the scores of attention.

In: places of queries and keys. Out: one number a head for each pair.
Legend: B batch, T queries, S keys, H heads.
"""

from __future__ import annotations

from math import log

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from noria.model.styles import Positions


def relative_buckets(
    distances: Int[Tensor, "*shape"], positions: Positions, *, causal: bool
) -> Int[Tensor, "*shape"]:
    """The bucket of each distance, key's place minus query's (Raffel et al. 2020, section 2.1).

    Half of the buckets hold one distance each, the other half ever more of them, up to
    `distance_tokens`; the last holds all beyond. Without `causal`, one half of all is for keys
    after the query; with it, such keys share bucket 0, as they are not read.
    """
    num_buckets, offset = positions.buckets, torch.zeros_like(distances)
    if causal:
        distances = (-distances).clamp(min=0)
    else:
        num_buckets //= 2
        offset = (distances > 0).long() * num_buckets
        distances = distances.abs()
    exact = num_buckets // 2
    # Divided, then multiplied, as in T5's own program: rounding decides at the edge of a bucket.
    growth = torch.log(distances.clamp(min=1).float() / exact)
    share = growth / log(positions.distance_tokens / exact)
    far = (exact + (share * (num_buckets - exact)).long()).clamp(max=num_buckets - 1)
    return offset + torch.where(distances < exact, distances, far)


class RelativeBias(nn.Module):
    """A table of (buckets, heads), shared by all blocks of a stack."""

    def __init__(self, positions: Positions, num_heads: int, *, causal: bool) -> None:
        super().__init__()
        self.positions = positions
        self.causal = causal
        self.weight = nn.Parameter(torch.empty(positions.buckets, num_heads))

    def forward(
        self, queries: Int[Tensor, "#B T"], keys: Int[Tensor, "#B S"]
    ) -> Float[Tensor, "#B H T S"]:
        """Places of queries and keys -> what is added to each head's scores."""
        distances = keys[:, None, :] - queries[:, :, None]  # (B, T, S)
        buckets = relative_buckets(distances, self.positions, causal=self.causal)
        return self.weight[buckets].permute(0, 3, 1, 2)
