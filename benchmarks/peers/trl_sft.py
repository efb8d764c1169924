"""TRL's SFTTrainer with PEFT's LoRA over SmolLM2, on the shared chats, only answers counted.

Argument: {"warm_steps", "steps", "rows", "device_rows", "dtype", "bf16", "compile", "rank",
"alpha", "learning_rate", "targets", "num_held_out"}.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from datasets import Dataset
from pace import Finished, Pace, tell
from peft import LoraConfig
from trainer import CACHE, InOrder, Turns, settings
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

FIRST_TRAINED = 40
asked = json.loads(sys.argv[1])
chats = json.loads((CACHE / "chats.json").read_text())


def as_rows(some: list[dict[str, Any]]) -> Dataset:
    return Dataset.from_list(
        [{"input_ids": one["ids"], "completion_mask": one["mask"]} for one in some]
    )


class SFTInOrder(InOrder, SFTTrainer):
    pass


train, held_out = chats[FIRST_TRAINED:], chats[: asked["num_held_out"]]
rows, device_rows = asked["rows"], asked["device_rows"]
# Tokens that are no padding, as for ours.
mean_tokens = round(sum(len(one["ids"]) for one in train) / len(train) * rows)
model = AutoModelForCausalLM.from_pretrained(
    CACHE / "smollm2-hf", dtype=getattr(torch, asked["dtype"])
)
arguments = SFTConfig(
    **settings(asked, device_rows, "adamw_torch_fused"),
    gradient_checkpointing=False,
    max_length=None,
    packing=False,
    completion_only_loss=True,
)
lora = LoraConfig(
    r=asked["rank"],
    lora_alpha=asked["alpha"],
    target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    task_type="CAUSAL_LM",
)
trainer = SFTInOrder(
    model,
    arguments,
    train_dataset=as_rows(train),
    processing_class=AutoTokenizer.from_pretrained(CACHE / "smollm2-hf"),
    peft_config=lora,
    callbacks=[Turns(Pace(asked["warm_steps"], asked["steps"], mean_tokens))],
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
