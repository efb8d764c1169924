"""A head that is taught first, on vectors that stay: a body, rows and labels in, the head changed.

A fresh head's gradients would spoil what a base knows before the head says anything (Kumar et al.
2022, "Fine-Tuning can Distort Pretrained Features"); one that already knows the classes leaves
tuning little to do, which matters where there is time for few passes.
This module does not know texts or files.
Legend: B rows, C width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from noria.model.headed import HeadedModel
from noria.model.heads import SequenceHead, pool
from noria.model.masks import Rows
from noria.runtime import has_fast_bfloat16
from noria.train.labelled import Framing, Ids, framed, is_real, lengths, padded

READ_ROWS = 64
BATCH_ROWS = 256
NUM_PASSES = 100
MIN_STEPS, MAX_STEPS = 300, 3000
LEARNING_RATE = 0.02
WEIGHT_DECAY = 1e-4


def teach_head(
    model: HeadedModel,
    rows: Sequence[Ids],
    framing: Framing,
    labels_of: Callable[[Ids], Tensor],
    smoothing: float,
    seed: int,
) -> None:
    """Teach a classifying head alone, in place, on the vectors of each row's first window.

    labels_of: the classes of row numbers, (B,), or several as 0 and 1, (B, N). smoothing: of one
    class, as the tuning that follows has it, so that it begins where this ends.
    """
    head = model.head
    assert isinstance(head, SequenceHead) and head.layer is None
    vectors = pooled_vectors(model, rows, framing)
    random = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(head.classes.parameters(), LEARNING_RATE, weight_decay=0.0)
    per_pass = -(-len(rows) // BATCH_ROWS)
    num_steps = min(max(MIN_STEPS, NUM_PASSES * per_pass), MAX_STEPS)
    for step in range(num_steps):
        if step % per_pass == 0:
            order = random.permutation(len(rows))
        start = step % per_pass * BATCH_ROWS
        chosen = order[start : start + BATCH_ROWS]
        scores = head.classes(vectors[torch.from_numpy(chosen)])
        labels = labels_of(chosen)
        loss = (
            F.cross_entropy(scores, labels, label_smoothing=smoothing)
            if labels.dim() == 1
            else F.binary_cross_entropy_with_logits(scores, labels)
        )
        loss = loss + WEIGHT_DECAY * head.classes.weight.square().sum() / 2
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / num_steps)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def pooled_vectors(
    model: HeadedModel, rows: Sequence[Ids], framing: Framing
) -> Float[Tensor, "B C"]:
    """What the head makes its scores of, for each row's first window, without dropout."""
    model.eval()
    order = np.argsort([len(row) for row in rows], kind="stable")
    found = torch.zeros(len(rows), model.config.width)
    for start in range(0, len(order), READ_ROWS):
        chosen = order[start : start + READ_ROWS]
        windows = [framed(rows[number], framing, 0) for number in chosen]
        ids = padded(windows, framing.pad_id, framing.window_tokens)
        real = is_real(lengths(windows), ids.shape[1])
        autocast: Any = torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16())
        with torch.inference_mode(), autocast:
            hidden = model.body(ids, Rows(real=real))
        found[torch.from_numpy(chosen)] = pool(hidden.float(), real, model.head_config.pooling)
    model.train()
    return found
