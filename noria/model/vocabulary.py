"""A decoder for a longer vocabulary: the same weights, and rows for the new tokens.

In: a decoder and, for each new token, the old ids that it stands for. Out: a decoder whose old
tokens score and mean what they did. This module does not know text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from noria.errors import UsageError
from noria.model.transformer import Decoder, empty_model, fill_model


def with_new_tokens(model: Decoder, first_id: int, parts: Sequence[Sequence[int]]) -> Decoder:
    """The decoder with a row for each new id from `first_id` on: the mean of its parts' rows.

    It goes for the embedding, and for the output matrix and its bias where they are free. Rows
    that no token had (a vocabulary is often padded) are used up first. The mean of the parts is
    near where they are, so that the model starts from what it knew (Hewitt 2021 takes that of all
    tokens). Raises UsageError for a quantized model, or parts that are no ids.
    """
    num_old = model.config.vocab_size
    if model.quantization is not None or not 0 <= first_id <= num_old:
        raise UsageError(
            f"new tokens from {first_id} on for {num_old} rows", "a float model", "check the ids"
        )
    if any(not row or not 0 <= min(row) <= max(row) < first_id for row in parts):
        raise UsageError("a new token whose parts are no ids", f"0 to {first_id - 1}")
    size = max(num_old, first_id + len(parts))
    longer = empty_model(replace(model.config, vocab_size=size))
    tensors = {
        name: _longer(tensor, first_id, parts, size) if name in _by_token(model) else tensor
        for name, tensor in model.state_dict().items()
    }
    filled = fill_model(longer, tensors)
    assert isinstance(filled, Decoder)
    return filled.eval()


def _by_token(model: Decoder) -> set[str]:
    """The names of the tensors that have a row for each token."""
    named = {"embedding.weight"}
    named |= {"head.weight"} if model.head is not None else set()
    return named | ({"head_bias"} if model.head_bias is not None else set())


def _longer(tensor: Tensor, first_id: int, parts: Sequence[Sequence[int]], size: int) -> Tensor:
    longer = tensor.new_zeros((size, *tensor.shape[1:]))
    longer[: len(tensor)] = tensor
    for number, row in enumerate(parts):
        longer[first_id + number] = tensor[torch.tensor(row, device=tensor.device)].mean(dim=0)
    return longer
