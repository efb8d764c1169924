"""Which token may read which: causal, prefix, document, window and padding, as one table.

In: places in the batch and what is known of its rows. Out: a table of bool, or nothing where
plain causal or full attention needs none.
Legend: B batch, T new tokens (queries), S all tokens so far (keys).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from noria.errors import UsageError


class Rows(NamedTuple):
    """What is known of a batch's rows beyond their ids; None where it does not matter.

    real: false where a row is padded. documents: the number of each token's document, where
    several are packed into a row and do not read each other. prefix_tokens: how many tokens at the
    start of each row, its prompt, read each other in both directions.
    """

    real: Bool[Tensor, "B S"] | None = None
    documents: Int[Tensor, "B S"] | None = None
    prefix_tokens: Int[Tensor, " B"] | None = None


class Reading(NamedTuple):
    """How every attention of a stack reads in one pass.

    rotation: cosines and sines of the new tokens' places. mask: true where a query may read a key,
    or None. bias: added to the scores, or None. causal: with no mask, whether each token reads
    only itself and those before it.
    """

    rotation: tuple[Float[Tensor, "#B T 1 half_D"], Float[Tensor, "#B T 1 half_D"]] | None
    mask: Bool[Tensor, "#B 1 T S"] | None
    bias: Float[Tensor, "#B H T S"] | None
    causal: bool


NO_ROWS = Rows()
WHOLE_SOURCE = Reading(rotation=None, mask=None, bias=None, causal=False)  # as cross-attention does


def readable(
    num_new: int,
    num_all: int,
    rows: Rows,
    device: torch.device,
    *,
    causal: bool,
    window_tokens: int = 0,
) -> Bool[Tensor, "#B 1 T S"] | None:
    """Which of all S tokens each of the last T may read; None where `causal` alone says it.

    A padded token reads itself, so that no row of scores is empty; nobody else reads it.
    Raises UsageError for a prefix that is not new as a whole.
    """
    plain = all(one is None for one in rows) and (window_tokens == 0 or window_tokens >= num_all)
    if plain and (not causal or num_new in (1, num_all)):
        return None
    keys = torch.arange(num_all, device=device)
    queries = keys[num_all - num_new :, None]  # (T, 1)
    seen = queries >= keys if causal else torch.ones_like(queries >= keys)  # (T, S)
    seen = seen[None]  # (1, T, S)
    if rows.prefix_tokens is not None:
        if num_new != num_all:
            raise UsageError(
                "a prefix beside tokens of an earlier pass",
                "the whole prompt in the first pass",
                "read the prompt at once, or leave the prefix out",
            )
        seen = seen | (keys < rows.prefix_tokens[:, None])[:, None, :]
    if window_tokens:
        near = (queries - keys).abs() < window_tokens
        seen = seen & near
    if rows.documents is not None:
        own = rows.documents[:, num_all - num_new :, None] == rows.documents[:, None, :]
        seen = seen & own
    if rows.real is not None:
        seen = (seen & rows.real[:, None, :]) | (queries == keys)
    return seen[:, None]
