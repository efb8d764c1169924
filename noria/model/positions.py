"""Absolute positions: a vector for each place, added to the token's; and what place a token has.

In: places, counted from 0. Out: vectors of the model's width.
Legend: B batch, T tokens, S longest sequence, C width.
"""

from __future__ import annotations

from math import log

import torch
from jaxtyping import Float, Int
from torch import Tensor


def sinusoidal_table(
    context_tokens: int, width: int, *, interleaved: bool = True
) -> Float[Tensor, "S C"]:
    """Sines and cosines of place / 10000^(2i/C) (Vaswani et al. 2017, section 3.5), float32.

    Interleaved, channel 2i is the sine and 2i+1 the cosine, as in the paper; else the first half
    are sines and the second half cosines, as in tensor2tensor and Marian. Always on the CPU, so
    that a model that is laid out on torch's meta device still gets a real table.
    """
    channels = torch.arange(0, width, 2, device="cpu").double()
    frequencies = torch.exp(channels * (-log(10000.0) / width))
    places = torch.arange(context_tokens, device="cpu").double()
    angles = torch.outer(places, frequencies)  # (S, C/2)
    parts = (angles.sin(), angles.cos())
    table = torch.stack(parts, dim=-1).flatten(1) if interleaved else torch.cat(parts, dim=-1)
    return table.float()


def places_in_documents(documents: Int[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """Each token's place within its own document, where several are packed into one row.

    documents: a number for each token, the same for all tokens of a document, which stand together.
    """
    index = torch.arange(documents.shape[1], device=documents.device).expand_as(documents)
    begins = torch.ones_like(documents, dtype=torch.bool)
    begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
    starts = torch.where(begins, index, 0).cummax(dim=1).values
    return index - starts
