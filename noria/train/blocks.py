"""How blocks are computed in training: compiled, or computed a second time to save memory.

In: a model. Out: the same model, changed in place; its numbers stay what they were. This module
does not know what is trained.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from noria.model.block import Block
from noria.model.config import ModelConfig
from noria.model.heads import HeadConfig


def compile_blocks(model: nn.Module) -> None:
    """Compile the blocks in place; all blocks share one compiled code, so it takes seconds."""
    for block in _blocks(model):
        block.compile(dynamic=False)


def recompute_blocks(model: nn.Module) -> None:
    """Keep only what enters each block, and compute the rest again for the backward pass.

    Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost".
    """
    for block in _blocks(model):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)  # type: ignore[method-assign]


def _blocks(model: nn.Module) -> list[Block]:
    return [module for module in model.modules() if isinstance(module, Block)]


def has_dropout(model: nn.Module) -> bool:
    """Whether evaluation mode makes a difference; compiled code is made again for each mode."""
    config = getattr(model, "config", None)
    rates = asdict(config.dropout).values() if isinstance(config, ModelConfig) else ()
    head = getattr(model, "head_config", None)
    return any(rates) or (isinstance(head, HeadConfig) and head.dropout > 0)
