"""What the tests of adapters share: a small decoder with an adapter as after training."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from noria.model.adapted import TARGETS
from noria.model.adapters import adapter_tensors, add_adapter, fill_adapter
from noria.model.config import ModelConfig
from noria.model.transformer import Decoder, build_decoder

CONFIG = ModelConfig(
    vocab_size=97,
    context_tokens=16,
    num_layers=2,
    width=32,
    num_heads=4,
    num_kv_heads=2,
    ffn_width=64,
)
IDS = torch.randint(97, (3, 16), generator=torch.Generator().manual_seed(1))


def spread(model: Decoder, name: str, seed: int) -> None:
    """Give an adapter values as after training."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        key: 0.2 * torch.randn(one.shape, generator=generator)
        for key, one in adapter_tensors(model, name).items()
    }
    fill_adapter(model, name, tensors)


def adapted(name: str = "one", targets: Iterable[str] = TARGETS) -> Decoder:
    model = build_decoder(CONFIG, seed=5)
    add_adapter(model, name, 4, 8, targets, seed=2)
    spread(model, name, seed=3)
    return model


def logits(model: Decoder) -> torch.Tensor:
    with torch.no_grad():
        return model.logits(model(IDS))


def trained_names(model: Decoder) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}
