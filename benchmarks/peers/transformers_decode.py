"""transformers over SmolLM2. Argument: {"dtype", "threads", "prefill_tokens", "new_tokens"}."""

from __future__ import annotations

import torch
from decoding import CACHE, asked, take_turns
from transformers import AutoModelForCausalLM

torch.set_num_threads(asked["threads"])
model = AutoModelForCausalLM.from_pretrained(
    CACHE / "smollm2-hf", dtype=getattr(torch, asked["dtype"]), local_files_only=True
).eval()


@torch.inference_mode()
def generate(prompts: list[list[int]], num_new: int) -> int:
    ids = torch.tensor(prompts)
    found = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=num_new,
        min_new_tokens=num_new,
        pad_token_id=0,
    )
    return int(found[:, ids.shape[1] :].numel())


take_turns(generate)
