"""Trains each model of a list for two steps, and prints in JSON how far the resident memory rose
above that of the loaded program, and what was predicted.

Run with MALLOC_MMAP_THRESHOLD_ set: else the C library keeps much of what is freed for later, and
its holes, not the model's needs, are what rises.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import torch

from noria.model.config import ModelConfig
from noria.model.cost import BatchShape, training_memory_bytes
from noria.model.likelihood import cross_entropy_sum
from noria.model.masks import Rows
from noria.model.presets import preset
from noria.model.styles import AttentionStyle, Dropout, FeedForwardStyle, Norm, Positions
from noria.model.transformer import Encoder, EncoderDecoder, Transformer, build_model
from noria.runtime import peak_memory_bytes, release_memory, reset_peak_memory
from noria.train.optim import build_optimizer

_PARTS = {"norm": Norm(kind="layer"), "attention": AttentionStyle(bias=True)}
# name: config, shape of a micro-batch, optimizer
CASES = {
    "decoder-activations": (
        replace(preset("decoder-1m", 4096, 256), num_layers=12),
        BatchShape(11, 256),
        "adamw",
    ),
    "decoder-weights": (
        replace(preset("decoder-10m", 16384, 128), tied=False),
        BatchShape(3, 96),
        "muon",
    ),
    "encoder": (
        replace(
            preset("encoder-1m", 8192, 128),
            **_PARTS,
            num_layers=8,
            positions=Positions(kind="learned"),
            feedforward=FeedForwardStyle(activation="gelu", gated=False, bias=True),
            dropout=Dropout(hidden=0.1, attention=0.1),
        ),
        BatchShape(32, 128, padded=True),
        "adamw",
    ),
    "encoder-decoder": (
        replace(preset("seq2seq-2m", 8192, 128), num_layers=6, num_encoder_layers=6),
        BatchShape(24, 96, 128, padded=True),
        "sgd",
    ),
}


def loss_of(model: Transformer, batch: BatchShape) -> torch.Tensor:
    """The loss of random rows, of which the last third is padded if the shape says so."""
    ids = torch.randint(model.config.vocab_size, (batch.num_rows, batch.num_tokens))
    if isinstance(model, Encoder):
        hidden = model(ids, rows=Rows(real=_real(ids)))
        return hidden.square().mean()
    if isinstance(model, EncoderDecoder):
        shape = (batch.num_rows, batch.num_source_tokens)
        source_ids = torch.randint(model.config.vocab_size, shape)
        source_real = _real(source_ids)
        memory = model.encode(source_ids, Rows(real=source_real))
        hidden = model.decode(ids, memory, source_real, rows=Rows(real=_real(ids)))
    else:
        hidden = model(ids)
    total, _ = cross_entropy_sum(model, hidden, ids, torch.ones(ids.shape))
    return total


def _real(ids: torch.Tensor) -> torch.Tensor:
    real = torch.ones(ids.shape, dtype=torch.bool)
    real[:, ids.shape[1] * 2 // 3 :] = False
    return real


def train(config: ModelConfig, batch: BatchShape, optimizer: str) -> None:
    """Two steps, the second of two micro-batches; only the last is whole, as its peak is all."""
    model = build_model(config, 1).train()
    stepping = build_optimizer(model, optimizer, 1e-4, 0.0)
    one_row = replace(batch, num_rows=1)
    for micro_batches in ([one_row], [one_row, batch]):
        for micro_batch in micro_batches:
            loss_of(model, micro_batch).backward()
        stepping.step()
        stepping.zero_grad()


def resident_bytes() -> int:
    """What this process holds now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Train tiny models first, so that libraries are loaded; then measure each real one."""
    torch.set_num_threads(1)
    peaks = {}
    for name, (config, batch, optimizer) in CASES.items():
        layers = {"num_layers": 1, "num_encoder_layers": min(1, config.num_encoder_layers)}
        train(replace(config, **layers, vocab_size=64), replace(batch, num_rows=1), optimizer)
        release_memory()
        before = resident_bytes()
        reset_peak_memory()
        train(config, batch, optimizer)
        predicted = training_memory_bytes(config, batch, optimizer=optimizer)
        peaks[name] = {"measured": peak_memory_bytes() - before, "predicted": predicted}
    print(json.dumps(peaks))


if __name__ == "__main__":
    main()
