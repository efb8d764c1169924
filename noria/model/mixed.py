"""One base under several adapters at once: each token of a row has its own, or none.

In: a decoder, and before each pass which rows are whose. Out: a decoder over the same tensors that
adds to each row its own low-rank update (Chen et al. 2023, Punica; Sheng et al. 2023, S-LoRA).
Rows of one adapter stand side by side, and each adapter costs two small products a layer: measured
faster on a CPU than one product over all adapters with a mask, and than gathered matrices
(docs/log.md). Int8 layers of one input are one product. This module does not know requests or where
adapters come from.
Legend: T tokens, I inputs, O outputs, R rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from noria.model.adapted import LowRank
from noria.model.attention import Attention
from noria.model.feedforward import FeedForward
from noria.model.over_base import sharing
from noria.model.quantized import Int8Linear, joined
from noria.model.transformer import Decoder


@dataclass(frozen=True)
class Part:
    """Tokens of a row that have one adapter: where they stand, and its updates by layer."""

    rows: slice
    updates: Mapping[str, LowRank]


# Layers of one input, which a step multiplies in one product where their numbers are integers.
_TOGETHER: dict[type[nn.Module], tuple[str, ...]] = {
    Attention: ("query", "key", "value"),
    FeedForward: ("gate", "up"),
}


@final
class MixedDecoder:
    """A decoder over the tensors of another; `parts` says whose the tokens of the next pass are.

    For one thread. Int8 layers of the other then hold views of joined ones.
    """

    def __init__(self, base: Decoder) -> None:
        self.decoder = sharing(base)
        self._layers: list[_Mixed] = []
        for path, module in list(self.decoder.blocks.named_modules(prefix="blocks")):
            names = _TOGETHER.get(type(module), ())
            alone = [
                name
                for name, child in module.named_children()
                if isinstance(child, nn.Linear | Int8Linear)
            ]
            if names and all(isinstance(getattr(module, name), Int8Linear) for name in names):
                self._join(base.get_submodule(path), module, path, names)
                alone = [name for name in alone if name not in names]
            for name in alone:
                mixed = _Mixed(module.get_submodule(name), {f"{path}.{name}": slice(None)})
                setattr(module, name, mixed)
                self._layers.append(mixed)

    def _join(self, base: nn.Module, module: nn.Module, path: str, names: tuple[str, ...]) -> None:
        children = (base.get_submodule(name) for name in names)
        layers = [one for one in children if isinstance(one, Int8Linear)]
        whole = joined(layers)
        ends = list(accumulate(one.weight.shape[0] for one in layers))
        starts = [0, *ends[:-1]]
        columns = {
            f"{path}.{name}": slice(*place)
            for name, place in zip(names, zip(starts, ends, strict=True), strict=True)
        }
        mixed = _Mixed(whole, columns)
        module.together = mixed.parted  # type: ignore[assignment]
        self._layers.append(mixed)

    def mix(self, parts: tuple[Part, ...]) -> None:
        """Whose the tokens of the next pass are; tokens in no part have no adapter."""
        for layer in self._layers:
            layer.parts = [
                (part.rows, columns, update)
                for part in parts
                for path, columns in layer.columns.items()
                if (update := part.updates.get(path)) is not None
            ]


class _Mixed(nn.Module):
    """A linear layer, and what the acting updates add to their rows and columns.

    columns: which outputs are those of which layer of the base.
    """

    def __init__(self, linear: nn.Module, columns: Mapping[str, slice]) -> None:
        super().__init__()
        self.linear = linear
        self.columns = columns
        self.parts: list[tuple[slice, slice, LowRank]] = []

    def forward(self, x: Float[Tensor, "1 T I"]) -> Float[Tensor, "1 T O"]:
        """Scale and sum in one call with the second product."""
        result: Tensor = self.linear(x)
        for rows, columns, update in self.parts:
            short = torch.mm(x[0, rows], update.lora_a.t())  # (T, R)
            result[0, rows, columns].addmm_(short, update.lora_b.t(), alpha=update.scale)
        return result

    def parted(self, x: Float[Tensor, "1 T I"]) -> list[Tensor]:
        """As `forward`, the outputs of each layer by themselves."""
        result = self(x)
        return [result[..., columns] for columns in self.columns.values()]
