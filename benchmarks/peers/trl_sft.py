"""TRL's SFTTrainer with PEFT's LoRA over SmolLM2, on the shared chats, only answers counted.

Argument: {"warm_steps", "steps", "rows", "device_rows", "dtype", "bf16", "compile", "rank",
"alpha", "learning_rate", "targets"}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from pace import Finished, Pace, tell
from peft import LoraConfig
from torch.utils.data import SequentialSampler
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

CACHE = Path(__file__).resolve().parents[1] / "cache"
NUM_HELD_OUT = 40
asked = json.loads(sys.argv[1])
chats = json.loads((CACHE / "chats.json").read_text())


def as_rows(some: list[dict[str, Any]]) -> Dataset:
    return Dataset.from_list(
        [{"input_ids": one["ids"], "completion_mask": one["mask"]} for one in some]
    )


class InOrder(SFTTrainer):
    def _get_train_sampler(self, *arguments: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


class Turns(TrainerCallback):
    """Counts the tokens that are no padding, as for ours."""

    def __init__(self, tokens_per_step: int) -> None:
        self.pace = Pace(asked["warm_steps"], asked["steps"], tokens_per_step)

    def on_step_end(self, *arguments: Any, **named: Any) -> None:
        self.pace.step_done()


train, held_out = chats[NUM_HELD_OUT:], chats[:NUM_HELD_OUT]
rows, device_rows = asked["rows"], asked["device_rows"]
mean_tokens = round(sum(len(one["ids"]) for one in train) / len(train) * rows)
model = AutoModelForCausalLM.from_pretrained(
    CACHE / "smollm2-hf", dtype=getattr(torch, asked["dtype"])
)
arguments = SFTConfig(
    output_dir=str(CACHE / "trl-output"),
    per_device_train_batch_size=device_rows,
    gradient_accumulation_steps=rows // device_rows,
    max_steps=1_000_000,
    learning_rate=asked["learning_rate"],
    lr_scheduler_type="constant",
    weight_decay=0.1,
    adam_beta1=0.9,
    adam_beta2=0.95,
    max_grad_norm=1.0,
    bf16=asked["bf16"],
    torch_compile=asked["compile"],
    optim="adamw_torch_fused",
    gradient_checkpointing=False,
    max_length=None,
    packing=False,
    completion_only_loss=True,
    use_cpu=True,
    report_to="none",
    save_strategy="no",
    logging_strategy="no",
    disable_tqdm=True,
)
lora = LoraConfig(
    r=asked["rank"],
    lora_alpha=asked["alpha"],
    target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    task_type="CAUSAL_LM",
)
trainer = InOrder(
    model,
    arguments,
    train_dataset=as_rows(train),
    processing_class=AutoTokenizer.from_pretrained(CACHE / "smollm2-hf"),
    peft_config=lora,
    callbacks=[Turns(mean_tokens)],
)
try:
    trainer.train()
except Finished:
    trainer.model.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for one in held_out:
            ids, mask = torch.tensor([one["ids"]]), torch.tensor(one["mask"])[1:].bool()
            logits = trainer.model(input_ids=ids).logits[0, :-1].float()
            found = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")
            total, count = total + float(found[mask].sum()), count + int(mask.sum())
    tell({"held_out_loss": total / count})
