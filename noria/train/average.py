"""A running mean of the weights, which is often better than the last of them.

In: a model that trains. Out: the mean, step by step, and a model that holds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from noria.train.parallel import placed_as


@final
class WeightAverage:
    """Exponential moving average of what trains (Polyak & Juditsky 1992; Tan & Le 2019).

    The decay grows towards its value with the number of steps n, as (1 + n) / (10 + n), so that
    the first random weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._named = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.tensors = {name: p.detach().clone() for name, p in self._named.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Count the weights after that step (from 1)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, parameter in self._named.items():
            self.tensors[name].lerp_(parameter, 1 - decay)

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from a stored mean, of the same names and shapes."""
        for name, own in self.tensors.items():
            own.copy_(placed_as(tensors[name], own))

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the model's weights with the mean; a second call takes that back."""
        for name, parameter in self._named.items():
            kept = parameter.detach().clone()
            parameter.copy_(self.tensors[name])
            self.tensors[name].copy_(kept)
