"""Parameters in, optimizer out: of one kind, or Muon for the matrices inside blocks and AdamW."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, final

import torch

_BLOCK = re.compile(r"(?:^|\.)blocks\.(\d+)\.")
_ENTERING = (
    "embedding",
    "segments",
    "positions",
    "relative",
    "embedding_norm",
)  # before the blocks
BETAS = (0.9, 0.95)  # of GPT-3 (Brown et al., 2020)
MUON_MOMENTUM = 0.95
SGD_MOMENTUM = 0.9


@final
class Optimizer:
    """One or two of torch's optimizers that act as one.

    Each keeps its own peak learning rate; `set_share` moves all of them by one share.
    """

    def __init__(self, parts: Iterable[torch.optim.Optimizer]) -> None:
        self.parts = tuple(parts)
        self._part_of = {
            id(parameter): part
            for part in self.parts
            for group in part.param_groups
            for parameter in group["params"]
        }
        self._peaks = [[group["lr"] for group in part.param_groups] for part in self.parts]

    def set_share(self, share: float) -> None:
        """Use this share of every peak learning rate from the next step on."""
        for part, peaks in zip(self.parts, self._peaks, strict=True):
            for group, peak in zip(part.param_groups, peaks, strict=True):
                group["lr"] = share * peak

    def step(self) -> None:
        """Change the parameters by their gradients."""
        for part in self.parts:
            part.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def state_of(self, parameter: torch.Tensor) -> dict[str, Any]:
        """What is remembered of a parameter, to be read or filled; empty before its first step."""
        state: dict[str, Any] = self._part_of[id(parameter)].state[parameter]
        return state


def build_optimizer(
    model: torch.nn.Module,
    name: str,
    learning_rate: float,
    weight_decay: float,
    layer_decay: float = 1.0,
) -> Optimizer:
    """One of OPTIMIZERS over what trains; with "muon", Muon for the matrices inside blocks.

    Vectors (norms, biases) have no decay: pulling a scale towards zero regularises nothing. Beside
    Muon, embeddings, a scoring layer and vectors stay with AdamW. layer_decay: each block's rate is
    so many times that of the block above it (Howard & Ruder 2018; Clark et al. 2020, ELECTRA).
    """
    named = [(path, p) for path, p in model.named_parameters() if p.requires_grad]
    levels = _levels_above(model)
    groups: dict[tuple[bool, bool, int], list[torch.nn.Parameter]] = {}
    for path, parameter in named:
        matrix = parameter.dim() >= 2
        inside = name == "muon" and parameter.dim() == 2 and "blocks." in path
        above = levels[path] if layer_decay != 1.0 else 0
        groups.setdefault((inside, matrix, above), []).append(parameter)
    kinds: dict[bool, list[dict[str, Any]]] = {}
    for (inside, matrix, above), parameters in groups.items():
        kinds.setdefault(inside, []).append(
            {
                "params": parameters,
                "lr": learning_rate * layer_decay**above,
                "weight_decay": weight_decay if matrix else 0.0,
            }
        )
    build = OPTIMIZERS["adamw" if name == "muon" else name]
    parts = [build(kinds[False])] if False in kinds else []
    if True in kinds:
        parts.append(_muon(kinds[True]))
    return Optimizer(parts)


def _levels_above(model: torch.nn.Module) -> dict[str, int]:
    """How far each parameter is from the output: 0 for what follows the blocks of its stack."""
    blocks = {path: _BLOCK.search(path) for path, _ in model.named_parameters()}
    top = max((int(found[1]) + 2 for found in blocks.values() if found), default=1)
    levels = {}
    for path, found in blocks.items():
        entering = any(part in _ENTERING for part in path.split("."))
        depth = int(found[1]) + 1 if found else 0 if entering else top
        levels[path] = top - depth
    return levels


def _sgd(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum (Polyak 1964)."""
    return torch.optim.SGD(groups, momentum=SGD_MOMENTUM)


def _adam(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Kingma & Ba 2015; decay is added to the gradient."""
    return torch.optim.Adam(groups, betas=BETAS, eps=1e-8, fused=True)


def _adamw(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Loshchilov & Hutter 2019; decay is taken from the weight."""
    return torch.optim.AdamW(groups, betas=BETAS, eps=1e-8, fused=True)


def _muon(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Jordan et al. 2024, its updates scaled to the size of AdamW's (Liu et al. 2025, "Muon is
    scalable for LLM training"), so that one learning rate fits both."""
    return torch.optim.Muon(groups, momentum=MUON_MOMENTUM, adjust_lr_fn="match_rms_adamw")


def _adafactor(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """Shazeer & Stern 2018: second moments of rows and columns only."""
    return torch.optim.Adafactor(groups)


OPTIMIZERS = {"adamw": _adamw, "adam": _adam, "sgd": _sgd, "adafactor": _adafactor}
