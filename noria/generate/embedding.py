"""A text as one vector: the mean of the last layer's states over its tokens.

In: a loaded model and ids. Out: a vector of length 1. These are a language model's states, not
trained to compare texts. Legend: T tokens, C width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from noria.errors import UsageError
from noria.generate.loaded import LanguageModel


@torch.inference_mode()
def embed(
    model: LanguageModel, ids_before: Sequence[int], ids: Sequence[int]
) -> Float[Tensor, " C"]:
    """The vector of one text. Raises UsageError for none or too many tokens.

    `ids_before` begin every sequence of this model; they are read and not counted into the mean.
    """
    limit = model.model.config.context_tokens - len(ids_before)
    if not 0 < len(ids) <= limit:
        raise UsageError(f"a text of {len(ids)} tokens", f"1 to {limit} tokens")
    hidden = model.model(torch.tensor([[*ids_before, *ids]]))  # (1, T, C)
    mean = hidden[0, len(ids_before) :].float().mean(dim=0)
    unit: Tensor = mean / mean.norm().clamp_min(1e-12)
    return unit
