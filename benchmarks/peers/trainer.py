"""What both trainers of Hugging Face are given: rows in order, turns, and the same settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pace import Pace
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainerCallback

CACHE = Path(__file__).resolve().parents[1] / "cache"


class InOrder(Trainer):
    """Reads its rows as they stand; goes before the trainer that it is mixed into."""

    def _get_train_sampler(self, *arguments: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


class Turns(TrainerCallback):
    """One step, one turn."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace

    def on_step_end(self, *arguments: Any, **named: Any) -> None:
        self._pace.step_done()


def settings(asked: Mapping[str, Any], device_rows: int, optimizer: str) -> dict[str, Any]:
    """AdamW at a constant rate with clipping at 1, as ours; nothing is saved or logged."""
    return {
        "output_dir": str(CACHE / "hf-output"),
        "per_device_train_batch_size": device_rows,
        "gradient_accumulation_steps": asked["rows"] // device_rows,
        "max_steps": 1_000_000,
        "learning_rate": asked["learning_rate"],
        "lr_scheduler_type": "constant",
        "weight_decay": 0.1,
        "adam_beta1": 0.9,
        "adam_beta2": 0.95,
        "max_grad_norm": 1.0,
        "bf16": asked["bf16"],
        "torch_compile": asked["compile"],
        "optim": optimizer,
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
    }
