"""Hugging Face's Trainer over its GPT-2, on the shared text and first weights.

Argument: {"warm_steps", "steps", "bf16", "compile", "optimizer", "learning_rate", "rows"}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pace import Finished, Pace, tell
from torch.utils.data import Dataset, SequentialSampler
from transformers import GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

CACHE = Path(__file__).resolve().parents[1] / "cache"
CONTEXT_TOKENS = 256
asked = json.loads(sys.argv[1])
torch.set_num_threads(torch.get_num_threads())


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


class InOrder(Trainer):
    def _get_train_sampler(self, *arguments: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


class Turns(TrainerCallback):
    def __init__(self) -> None:
        self.pace = Pace(asked["warm_steps"], asked["steps"], asked["rows"] * CONTEXT_TOKENS)

    def on_step_end(self, *arguments: Any, **named: Any) -> None:
        self.pace.step_done()


def shifted_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None
) -> torch.Tensor:
    """Labels stand beside their inputs already."""
    logits = outputs.logits.float()
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())


model = GPT2LMHeadModel.from_pretrained(CACHE / "theirs", dtype=torch.float32)
arguments = TrainingArguments(
    output_dir=str(CACHE / "hf-output"),
    per_device_train_batch_size=asked["rows"],
    max_steps=1_000_000,
    learning_rate=asked["learning_rate"],
    lr_scheduler_type="constant",
    weight_decay=0.1,
    adam_beta1=0.9,
    adam_beta2=0.95,
    max_grad_norm=1.0,
    bf16=asked["bf16"],
    torch_compile=asked["compile"],
    optim=asked["optimizer"],
    use_cpu=True,
    report_to="none",
    save_strategy="no",
    logging_strategy="no",
    disable_tqdm=True,
)
trainer = InOrder(
    model,
    arguments,
    train_dataset=Rows("train.npy", asked["rows"]),
    callbacks=[Turns()],
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
