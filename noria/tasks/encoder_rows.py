"""Rows of ids through a model under its head, those of like length together.

In: rows. Out: what the head says of each. This module does not know text or labels.
Legend: B rows of a batch, T tokens, N numbers that a head says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noria.model.headed import HeadedModel

BATCH_TOKENS = 4096
WIDTH_STEP = 8


def scored_rows(
    model: HeadedModel, pad_id: int, rows: Sequence[Sequence[int]]
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """Scores (B, N) in float64 with the numbers of their rows, those of like length together."""
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    while order:
        longest = len(rows[order[-1]])
        taken = order[-max(1, BATCH_TOKENS // longest) :]
        del order[-len(taken) :]
        width = min(
            -(-longest // WIDTH_STEP) * WIDTH_STEP, max(longest, model.config.context_tokens)
        )
        ids = torch.full((len(taken), width), pad_id)
        real = torch.zeros(len(taken), width, dtype=torch.bool)
        for at, number in enumerate(taken):
            ids[at, : len(rows[number])] = torch.tensor(rows[number])
            real[at, : len(rows[number])] = True
        with torch.inference_mode():
            yield np.array(taken), model(ids, real).double()
