"""A model of a few thousand weights and text that it can learn, for the tests of the trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from noria.model.config import ModelConfig
from noria.model.transformer import Decoder, build_decoder
from noria.tokenizer.pack import open_shard, write_shard
from noria.train.batches import Blocks, Mixture
from noria.train.loop import train
from noria.train.plan import Choices, TrainPlan

VOCAB_SIZE = 97
CONFIG = ModelConfig(
    vocab_size=VOCAB_SIZE,
    context_tokens=16,
    num_layers=2,
    width=32,
    num_heads=4,
    num_kv_heads=2,
    ffn_width=64,
)
PLAN = TrainPlan(num_steps=12, learning_rate=0.01)
CHOICES = Choices("float32", False, 4, 1)


def mixture_in(folder: Path, num_tokens: int = 1000) -> Mixture:
    """A shard in which token n is followed by n + 3 or n + 5: there is something to learn."""
    random = np.random.default_rng(7)
    ids = np.cumsum(random.choice([3, 5], num_tokens)) % VOCAB_SIZE
    write_shard(folder, [(ids.tolist(), None)], VOCAB_SIZE)
    blocks = Blocks(open_shard(folder), CONFIG.context_tokens, 0, seed=3)
    return Mixture([(blocks, 1.0)], 8)


def run(
    folder: Path,
    plan: TrainPlan = PLAN,
    watch: Any = None,
    choices: Choices = CHOICES,
    config: ModelConfig = CONFIG,
    held_out: Any = None,
    objective: Any = None,
) -> tuple[Decoder, list[dict[str, Any]]]:
    """Train a fresh model with checkpoints in the folder; the same call goes on."""
    model = build_decoder(config, seed=5)
    mixture = mixture_in(folder / "shard")
    losses = train(model, mixture, plan, choices, folder / "ckpt", held_out, watch, objective)
    return model, losses
