"""Fresh weights: names and shapes in, tensors out, the same for the same seed on every run.

This module does not touch torch's global random state, and does not know what a layer does.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

INITIAL_DEVIATION = 0.02


def initial_tensors(
    shapes: Mapping[str, tuple[int, ...]], num_layers: int, seed: int
) -> dict[str, Tensor]:
    """Draw float32 weights in the order of their names.

    Vectors (norms) start at 1, matrices normal with deviation 0.02; those that write into the
    residual stream are divided by sqrt(2 · layers), so that the stream's size does not grow with
    depth (Radford et al. 2019, GPT-2).
    """
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name in sorted(shapes):
        shape = shapes[name]
        if len(shape) == 1:
            tensors[name] = torch.ones(shape)
            continue
        deviation = INITIAL_DEVIATION
        if name.endswith(("attention.output.weight", "feedforward.down.weight")):
            deviation /= (2 * num_layers) ** 0.5
        tensors[name] = torch.randn(shape, generator=generator) * deviation
    return tensors
