"""Hugging Face's Trainer over its GPT-2, on the shared text and first weights.

Argument: {"warm_steps", "steps", "bf16", "compile", "optimizer", "learning_rate", "rows"}.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import torch
from pace import Finished, Pace, tell
from torch.utils.data import Dataset
from trainer import CACHE, InOrder, Turns, settings
from transformers import GPT2LMHeadModel, TrainingArguments

CONTEXT_TOKENS = 256
asked = json.loads(sys.argv[1])


class Rows(Dataset[dict[str, torch.Tensor]]):
    """The same rows as ours; the model shifts labels itself, so a row has one token more."""

    def __init__(self, name: str, num_rows: int) -> None:
        self._ids = torch.from_numpy(np.load(CACHE / name))
        self._size = num_rows * CONTEXT_TOKENS
        self._num_rows = num_rows

    def __len__(self) -> int:
        return (len(self._ids) - 1) // CONTEXT_TOKENS

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        start = index * CONTEXT_TOKENS
        ids = self._ids[start : start + CONTEXT_TOKENS]
        return {"input_ids": ids, "labels": self._ids[start + 1 : start + CONTEXT_TOKENS + 1]}


def shifted_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None
) -> torch.Tensor:
    """Labels stand beside their inputs already."""
    logits = outputs.logits.float()
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())


model = GPT2LMHeadModel.from_pretrained(CACHE / "theirs", dtype=torch.float32)
arguments = TrainingArguments(**settings(asked, asked["rows"], asked["optimizer"]))
pace = Pace(asked["warm_steps"], asked["steps"], asked["rows"] * CONTEXT_TOKENS)
trainer = InOrder(
    model,
    arguments,
    train_dataset=Rows("train.npy", asked["rows"]),
    callbacks=[Turns(pace)],
    compute_loss_func=shifted_loss,
)
try:
    trainer.train()
except Finished:
    held_out = Rows("held_out.npy", 48)
    rows = [held_out[index] for index in range(48)]
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=asked["bf16"]):
        losses = []
        for start in range(0, 48, 12):
            some = rows[start : start + 12]
            logits = model.eval()(torch.stack([r["input_ids"] for r in some])).logits.float()
            labels = torch.stack([r["labels"] for r in some])
            losses.append(torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()))
    tell({"held_out_loss": float(torch.stack(losses).mean())})
