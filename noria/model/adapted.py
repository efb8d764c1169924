"""Linear layers with named low-rank updates beside a frozen weight (LoRA, Hu et al. 2021).

In: float linear layers. Out: layers of the same weight and name that add, for at most one update
at a time, scale · B · A · x. This module does not know how updates are trained, stored or chosen.
Legend: O outputs (rows), I inputs, R rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from noria.errors import UsageError
from noria.model.quantized import Int8Linear, Int8Product

# what a recipe calls a layer: where it is in a block
TARGETS = {
    "query": "attention.query",
    "key": "attention.key",
    "value": "attention.value",
    "output": "attention.output",
    "gate": "feedforward.gate",
    "up": "feedforward.up",
    "down": "feedforward.down",
}
_PREFIX = "@"  # ModuleDict refuses the names of its own attributes ("keys", "type", …)
MAX_RANK = 1 << 16
MAX_ALPHA = 1e6


@dataclass(frozen=True)
class AdapterShape:
    """Which layers of every block are adapted, and how. Raises UsageError if it can't be.

    An update counts alpha / rank times, so that the learning rate need not follow the rank.
    """

    rank: int
    alpha: float
    targets: frozenset[str]

    def __post_init__(self) -> None:
        if type(self.rank) is not int or not 0 < self.rank <= MAX_RANK:
            raise _refuse(f"rank {self.rank!r}", f"a whole number from 1 to {MAX_RANK}")
        if type(self.alpha) not in (int, float) or not 0 < self.alpha <= MAX_ALPHA:
            raise _refuse(f"alpha {self.alpha!r}", f"a number above 0, at most {MAX_ALPHA:g}")
        if not self.targets or not self.targets <= TARGETS.keys():
            raise _refuse(f"targets {sorted(self.targets)}", f"some of {', '.join(TARGETS)}")

    @property
    def scale(self) -> float:
        """What the product of the two matrices is multiplied with."""
        return self.alpha / self.rank


class LowRank(nn.Module):
    """scale · B(A(x))."""

    def __init__(
        self, lora_a: Float[Tensor, "R I"], lora_b: Float[Tensor, "O R"], shape: AdapterShape
    ) -> None:
        super().__init__()
        self.shape = shape
        self.lora_a = nn.Parameter(lora_a)
        self.lora_b = nn.Parameter(lora_b)
        self.scale = shape.scale

    def forward(self, x: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        """Scale where the vectors are short: R multiplications a token in place of O."""
        return F.linear(F.linear(x, self.lora_a) * self.scale, self.lora_b)

    def product(self) -> Float[Tensor, "O I"]:
        """scale · B · A in float64."""
        return self.scale * (self.lora_b.detach().double() @ self.lora_a.detach().double())


class AdaptedLinear(nn.Module):
    """weight · x + bias, and the acting update if there is one.

    The tensors keep the names that they had in the plain layer, float or int8, which it shares
    them with.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear | Int8Linear) -> None:
        super().__init__()
        self.bias = linear.bias
        self._product: Int8Product | None = None
        if isinstance(linear, Int8Linear):
            self._product = linear.product
            self.register_buffer("weight", linear.weight)
            self.register_buffer("scale", linear.scale)
        else:
            self.register_parameter("weight", cast(nn.Parameter, linear.weight))
        self.updates = nn.ModuleDict()
        # A tuple, which torch does not register: an update has one name, and compiled code depends
        # on the acting one's shapes, not on what it is called or on how many there are.
        self._acting: tuple[LowRank, ...] = ()

    def add(self, name: str, update: LowRank) -> None:
        """Keep an update under a name; it does not act yet."""
        self.updates[_key(name)] = update

    def remove(self, name: str) -> None:
        """Forget an update; if it was the acting one, none acts."""
        update = self.updates.pop(_key(name))
        self._acting = tuple(one for one in self._acting if one is not update)

    def find(self, name: str) -> LowRank | None:
        """The update of that name, if this layer has it."""
        update = dict(self.updates.items()).get(_key(name))
        return update if isinstance(update, LowRank) else None

    def names(self) -> list[str]:
        """The names of all updates."""
        return [key.removeprefix(_PREFIX) for key in self.updates]

    def use(self, name: str | None) -> None:
        """Let this update act and train, and no other."""
        update = None if name is None else self.find(name)
        self._acting = () if update is None else (update,)
        for one in self.updates.values():
            one.requires_grad_(one is update)

    def plain(self) -> nn.Linear | Int8Linear:
        """The layer without updates; it shares the tensors."""
        rows, columns = self.weight.shape
        linear = nn.Linear(columns, rows, bias=False, device="meta")
        if self._product is not None:
            layer = Int8Linear(linear, self._product.num_groups)
            layer.weight, layer.scale, layer.bias = self.weight, self.scale, self.bias
            return layer
        linear.register_parameter("weight", cast(nn.Parameter, self.weight))
        linear.register_parameter("bias", self.bias)
        return linear

    def floats(self) -> Float[Tensor, "O I"]:
        """The weight without updates, in float32."""
        return self.weight if self._product is None else self.weight.float() * self.scale[:, None]

    def forward(self, x: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        """As nn.Linear's."""
        if self._product is not None:
            result = self._product(x, self.weight, self.scale, self.bias)
        else:
            result = F.linear(x, self.weight, self.bias)
        for update in self._acting:
            result = result + update(x)
        return result


def fresh_update(
    weight: Float[Tensor, "O I"], shape: AdapterShape, generator: torch.Generator
) -> LowRank:
    """An update that changes nothing yet: A uniform within 1 / sqrt(I), B zero, as PEFT's."""
    rows, columns = weight.shape
    bound = 1 / sqrt(columns)  # He et al. 2015 with a = sqrt(5), the default of torch's Linear
    lora_a = torch.empty(shape.rank, columns).uniform_(-bound, bound, generator=generator)
    lora_b = torch.zeros(rows, shape.rank)
    return LowRank(lora_a.to(weight.device), lora_b.to(weight.device), shape)


def _key(name: str) -> str:
    return _PREFIX + name


def _refuse(given: str, expected: str) -> UsageError:
    return UsageError(f"an adapter with {given}", expected, "change the adapter's settings")
