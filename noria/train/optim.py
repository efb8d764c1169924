"""Parameters in, optimizer out: AdamW for all of them, or Muon for the matrices inside blocks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, final

import torch

BETAS = (0.9, 0.95)  # of GPT-3 (Brown et al., 2020)
MUON_MOMENTUM = 0.95


@final
class Optimizer:
    """One or two of torch's optimizers that act as one.

    Each keeps its own peak learning rate; `set_learning_rate` moves all of them by one share.
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
    model: torch.nn.Module, name: str, learning_rate: float, weight_decay: float
) -> Optimizer:
    """AdamW (Loshchilov and Hutter, 2019), or Muon (Jordan et al., 2024) with AdamW beside it.

    Vectors (norms) have no decay: pulling a scale towards zero regularises nothing. Muon takes the
    matrices inside the blocks, its updates scaled to the size of AdamW's (Liu et al., 2025, "Muon
    is scalable for LLM training"), so that one learning rate fits both; embeddings, a scoring layer
    and vectors stay with AdamW.
    """
    named = [(path, p) for path, p in model.named_parameters() if p.requires_grad]
    inside = [p for path, p in named if name == "muon" and p.dim() == 2 and "blocks." in path]
    others = [p for path, p in named if not any(p is one for one in inside)]
    groups = [
        {"params": [p for p in others if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in others if p.dim() < 2], "weight_decay": 0.0},
    ]
    parts: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=learning_rate, betas=BETAS, eps=1e-8, fused=True)
    ]
    if inside:
        parts.append(
            torch.optim.Muon(
                inside,
                lr=learning_rate,
                weight_decay=weight_decay,
                momentum=MUON_MOMENTUM,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return Optimizer(parts)
