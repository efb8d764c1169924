"""Fresh weights: a config in, tensors out, the same for the same seed on every run.

This module does not touch torch's global random state, and does not know what a layer does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from noria.model.config import ModelConfig
from noria.model.shapes import Shape, tensor_shapes

INITIAL_DEVIATION = 0.02
_INTO_THE_STREAM = ("attention.output.weight", "feedforward.down.weight")


def initial_tensors(config: ModelConfig, seed: int) -> dict[str, Tensor]:
    """Draw float32 weights in the order of their names.

    Norms start at 1, biases at 0, matrices normal with deviation 0.02. Before-norm matrices that
    write into the residual stream are divided by sqrt(2 · layers), so that the stream's size does
    not grow with depth (Radford et al. 2019, GPT-2). What is multiplied by sqrt(C) or left unscaled
    later is drawn that much smaller (Raffel et al. 2020, T5). Where the embedding is multiplied and
    norms come after the sum, the blocks' matrices keep a vector's size (Glorot & Bengio 2010, as in
    the program of Vaswani et al. 2017): smaller ones let the embedding through, and a fresh model
    that is tied to it repeats its input.
    """
    generator = torch.Generator().manual_seed(seed)
    shapes = tensor_shapes(config)
    return draw(shapes, generator, lambda name: _deviation(config, name, shapes[name]))


def draw(
    shapes: Mapping[str, Shape], generator: torch.Generator, deviation: Callable[[str], float]
) -> dict[str, Tensor]:
    """Vectors of biases 0 and of norms 1; matrices normal, each with the deviation of its name."""
    tensors = {}
    for name in sorted(shapes):
        shape = shapes[name]
        if len(shape) == 1:
            bias = name.endswith("bias")
            tensors[name] = torch.zeros(shape) if bias else torch.ones(shape)
        else:
            tensors[name] = torch.randn(shape, generator=generator) * deviation(name)
    return tensors


def _deviation(config: ModelConfig, name: str, shape: Shape) -> float:
    if name == "embedding.weight" and config.embedding.scaled:
        return float(config.width**-0.5)
    if name.endswith("attention.query.weight") and not config.attention.scaled:
        return float(INITIAL_DEVIATION * config.head_width**-0.5)
    if config.embedding.scaled and config.norm.place == "after" and "blocks." in name:
        return float((2 / sum(shape)) ** 0.5)
    if name.endswith(_INTO_THE_STREAM) and config.norm.place == "before":
        return float(INITIAL_DEVIATION / (2 * config.num_layers) ** 0.5)
    return INITIAL_DEVIATION
