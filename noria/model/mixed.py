"""One base under several adapters at once: each token of a row has its own, or none.

In: a decoder, and before each pass which rows are whose. Out: a decoder over the same tensors that
adds to each row its own low-rank update (Chen et al. 2023, Punica; Sheng et al. 2023, S-LoRA).
Rows of one adapter stand side by side, and each adapter costs two small products a layer: measured
faster on a CPU than one product over all adapters with a mask, and than gathered matrices
(docs/log.md). This module does not know requests or where adapters come from.
Legend: T tokens, I inputs, O outputs, R rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from noria.model.adapted import LowRank
from noria.model.over_base import sharing
from noria.model.quantized import Int8Linear
from noria.model.transformer import Decoder


@dataclass(frozen=True)
class Part:
    """Tokens of a row that have one adapter: where they stand, and its updates by layer."""

    rows: slice
    updates: Mapping[str, LowRank]


@final
class MixedDecoder:
    """A decoder over the tensors of another; `parts` says whose the tokens of the next pass are.

    For one thread.
    """

    def __init__(self, base: Decoder) -> None:
        self.decoder = sharing(base)
        self._layers = []
        for path, layer in list(self.decoder.blocks.named_modules(prefix="blocks")):
            if isinstance(layer, nn.Linear | Int8Linear):
                parent, _, attribute = path.rpartition(".")
                mixed = _MixedLinear(layer, path)
                setattr(self.decoder.get_submodule(parent), attribute, mixed)
                self._layers.append(mixed)

    def mix(self, parts: tuple[Part, ...]) -> None:
        """Whose the tokens of the next pass are; tokens in no part have no adapter."""
        for layer in self._layers:
            layer.parts = [
                (part.rows, update)
                for part in parts
                if (update := part.updates.get(layer.path)) is not None
            ]


class _MixedLinear(nn.Module):
    """A linear layer, and what the acting updates add to their rows."""

    def __init__(self, linear: nn.Linear | Int8Linear, path: str) -> None:
        super().__init__()
        self.linear = linear
        self.path = path
        self.parts: list[tuple[slice, LowRank]] = []

    def forward(self, x: Float[Tensor, "1 T I"]) -> Float[Tensor, "1 T O"]:
        """Scale and sum in one call with the second product."""
        result: Tensor = self.linear(x)
        for rows, update in self.parts:
            short = torch.mm(x[0, rows], update.lora_a.t())  # (T, R)
            result[0, rows].addmm_(short, update.lora_b.t(), alpha=update.scale)
        return result
