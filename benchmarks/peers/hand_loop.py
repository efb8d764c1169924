"""A loop as many people write it by hand: GPT-2's blocks, one compiled model, float32 weights.

As nanoGPT does on a CPU it computes in float32 unless told otherwise; "bf16" puts the forward pass
under autocast. Argument: {"warm_steps", "steps", "bf16", "compile", "learning_rate", "rows"}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from pace import Finished, Pace, tell
from safetensors.torch import load_file
from torch import Tensor, nn

CACHE = Path(__file__).resolve().parents[1] / "cache"
CONTEXT_TOKENS, WIDTH, HEADS, LAYERS, VOCAB_SIZE = 256, 384, 6, 6, 8192
asked = json.loads(sys.argv[1])


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.into, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        rows, length, _ = x.shape
        q, k, v = self.into(self.norm_1(x)).view(rows, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(x.shape))
        return x + self.down(F.gelu(self.up(self.norm_2(x)), approximate="tanh"))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = (
            nn.Embedding(VOCAB_SIZE, WIDTH),
            nn.Embedding(CONTEXT_TOKENS, WIDTH),
        )
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        x = self.tokens(ids) + self.places.weight
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


NAMES = {"ln_1": "norm_1", "ln_2": "norm_2", "attn.c_attn": "into", "attn.c_proj": "out"}
NAMES |= {"mlp.c_fc": "up", "mlp.c_proj": "down"}
model = Model()
given = {
    k.removeprefix("transformer."): v
    for k, v in load_file(CACHE / "theirs/model.safetensors").items()
}
tensors = {"tokens.weight": given["wte.weight"], "places.weight": given["wpe.weight"]}
tensors |= {f"norm.{kind}": given[f"ln_f.{kind}"] for kind in ("weight", "bias")}
for number in range(LAYERS):
    for theirs, ours in NAMES.items():
        weight = given[f"h.{number}.{theirs}.weight"]
        tensors[f"blocks.{number}.{ours}.weight"] = weight.T if weight.ndim == 2 else weight
        tensors[f"blocks.{number}.{ours}.bias"] = given[f"h.{number}.{theirs}.bias"]
model.load_state_dict(tensors)
decayed = [p for p in model.parameters() if p.ndim >= 2]
plain = [p for p in model.parameters() if p.ndim < 2]
groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
optimizer = torch.optim.AdamW(groups, lr=asked["learning_rate"], betas=(0.9, 0.95), fused=True)
step_model = torch.compile(model) if asked["compile"] else model


def batch(ids: Tensor, step: int, rows: int) -> tuple[Tensor, Tensor]:
    size = rows * CONTEXT_TOKENS
    start = step * size % (len(ids) - size - 1)
    piece = ids[start : start + size + 1]
    return piece[:-1].view(rows, -1), piece[1:].view(rows, -1)


ids = torch.from_numpy(np.load(CACHE / "train.npy"))
pace = Pace(asked["warm_steps"], asked["steps"], asked["rows"] * CONTEXT_TOKENS)
cast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=asked["bf16"])
try:
    for step in range(1_000_000):
        with cast:
            loss = step_model(*batch(ids, step, asked["rows"]))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        pace.step_done()
except Finished:
    held_out = torch.from_numpy(np.load(CACHE / "held_out.npy"))
    with torch.no_grad(), cast:
        losses = [float(model(*batch(held_out, number, 12))) for number in range(4)]
    tell({"held_out_loss": sum(losses) / 4})
