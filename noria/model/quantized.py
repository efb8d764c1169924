"""Layers whose weights are 8-bit integers.

In: float layers, on the CPU or on torch's meta device (then only names and shapes count).
Out: layers of a quarter of the bytes. Each row of a matrix has one float32 scale, and
float weight ≈ integer · scale. "int8" multiplies float inputs; "int8-dynamic" rounds them to
integers too, each token by itself, so that no answer depends on what else is computed with it, but
not for a gradient or under autocast.
Legend: T tokens, O outputs (rows), I inputs, G groups of inputs, V vocabulary, C width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Int8, UInt8
from torch import Tensor, nn

from noria.model.embedding import TokenEmbedding
from noria.model.feedforward import FeedForward
from noria.model.transformer import ModelT
from noria.runtime import has_fast_int8

INT8_MAX = 127
QUANTIZATIONS = (None, "int8", "int8-dynamic")
# Rounded inputs of a layer share one scale, but those that are products of two numbers, of which a
# few are a hundred times the others. SmolLM2-135M on 4,096 tokens of Shakespeare: 3.987 nats so,
# with one scale there too 4.003, with float inputs 3.978, in floats 3.973 (docs/log.md).
PRODUCT_INPUTS = 384
_UINT8_MAX = 255
_NO_SPREAD = 1e-30  # so that equal inputs are divided by something


def quantize_rows(weight: Float[Tensor, "O I"]) -> tuple[Int8[Tensor, "O I"], Float[Tensor, " O"]]:
    """Round each row to integers in [-127, 127]; returns them and a float32 scale for each row.

    Symmetric: the largest magnitude of a row becomes 127, so the error is at most half a scale.
    """
    scale = weight.detach().float().abs().amax(dim=1) / INT8_MAX
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))  # a row of zeros stays zeros
    rounded = (weight.detach().float() / scale[:, None]).round()
    return rounded.clamp(-INT8_MAX, INT8_MAX).to(torch.int8), scale


class _IntegerProduct(torch.autograd.Function):
    """x · integersᵀ, keeping the integers for the backward pass and not a float copy of them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return F.linear(x, weight.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (slope,) = grad_outputs
        (weight,) = ctx.saved_tensors
        return slope @ weight.to(slope.dtype), None


@final
class Int8Product:
    """The product with one int8 matrix.

    num_groups: of inputs that are rounded with one scale; 0 where inputs stay float.
    """

    def __init__(self, num_groups: int = 0) -> None:
        self.num_groups = num_groups
        self._weight: Tensor | None = None  # what is laid out for the processor
        self._pieces: list[Tensor] = []
        self._sums: list[Tensor] = []

    def __call__(
        self,
        x: Float[Tensor, "... I"],
        weight: Int8[Tensor, "O I"],
        scale: Float[Tensor, " O"],
        bias: Float[Tensor, " O"] | None = None,
    ) -> Float[Tensor, "... O"]:
        """(x · integersᵀ) · scale + bias; under autocast in its numbers, with a gradient by x."""
        device = x.device.type
        if torch.is_autocast_enabled(device):
            x = x.to(torch.get_autocast_dtype(device))
        elif self.num_groups and not torch.is_grad_enabled():
            low, step, integers = self._rounded(x.reshape(-1, x.shape[-1]).float())
            if device == "cpu" and has_fast_int8():
                y = self._multiplied(low, step, integers, weight, scale)
                y = y.to(x.dtype).view(*x.shape[:-1], weight.shape[0])
                return y if bias is None else y + bias.to(x.dtype)
            x = (integers * step + low).to(x.dtype).view(x.shape)
        if torch.is_grad_enabled() and x.requires_grad:
            y = _IntegerProduct.apply(x, weight)  # type: ignore[no-untyped-call]
        else:
            y = F.linear(x, weight.to(x.dtype))
        # Scaled after the product: O multiplications a token in place of O · I.
        y = y * scale.to(x.dtype)
        return y if bias is None else y + bias.to(x.dtype)

    def _rounded(
        self, x: Float[Tensor, "T I"]
    ) -> tuple[Float[Tensor, "T G 1"], Float[Tensor, "T G 1"], UInt8[Tensor, "T G I_over_G"]]:
        """Low end, step and integers: inputs are low + step · integer, from 0 to 255.

        Asymmetric and by token (Yao et al. 2022, ZeroQuant).
        """
        grouped = x.view(x.shape[0], self.num_groups, x.shape[1] // self.num_groups)
        low = grouped.amin(-1, keepdim=True)
        step = grouped.amax(-1, keepdim=True).sub_(low).clamp_min_(_NO_SPREAD).div_(_UINT8_MAX)
        return low, step, grouped.sub(low).div_(step).round_().to(torch.uint8)

    def _multiplied(
        self,
        low: Float[Tensor, "T G 1"],
        step: Float[Tensor, "T G 1"],
        integers: UInt8[Tensor, "T G I_over_G"],
        weight: Int8[Tensor, "O I"],
        scale: Float[Tensor, " O"],
    ) -> Float[Tensor, "T O"]:
        """Integers times integers by oneDNN; the low end times the sums of weights is added."""
        if self._weight is not weight:
            self._lay_out(weight, scale)
        sums: Tensor | None = None
        for group, (piece, piece_sums) in enumerate(zip(self._pieces, self._sums, strict=True)):
            product: Tensor = torch.ops.onednn.qlinear_pointwise(
                integers[:, group],
                1.0,  # the inputs' scale and zero: each token has its own
                0,
                piece,
                scale,
                self._zeros,
                None,
                1.0,
                0,
                torch.float32,
                "none",
                [],
                "",
            )
            product.mul_(step[:, group]).addr_(low[:, group, 0], piece_sums)
            sums = product if sums is None else sums.add_(product)
        assert sums is not None
        return sums

    def _lay_out(self, weight: Int8[Tensor, "O I"], scale: Float[Tensor, " O"]) -> None:
        pieces = weight.chunk(self.num_groups, dim=1)
        self._zeros = torch.zeros(weight.shape[0], dtype=torch.int64)
        self._pieces = [
            torch.ops.onednn.qlinear_prepack(piece.contiguous(), None) for piece in pieces
        ]
        self._sums = [piece.sum(1).float() * scale for piece in pieces]
        self._weight = weight


def num_product_groups(num_inputs: int) -> int:
    """Groups of one size, of PRODUCT_INPUTS or a little less; 1 where there is no such size."""
    least = -(-num_inputs // PRODUCT_INPUTS)
    return next((one for one in range(least, 2 * least) if num_inputs % one == 0), 1)


class Int8Linear(nn.Module):
    """y = (x · integersᵀ) · scale + bias; the bias stays float. num_groups: as `Int8Product`'s."""

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear, num_groups: int = 0) -> None:
        super().__init__()
        weight, scale = quantize_rows(linear.weight)
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.bias = linear.bias
        self.product = Int8Product(num_groups)

    def floats(self) -> Float[Tensor, "O I"]:
        """What the integers stand for, in float32."""
        return self.weight.float() * self.scale[:, None]

    def forward(self, x: Float[Tensor, "... I"]) -> Float[Tensor, "... O"]:
        """As nn.Linear's."""
        return self.product(x, self.weight, self.scale, self.bias)


class Int8Embedding(nn.Module):
    """Token vectors as integers; a row is a token's vector and its output channel alike.

    So one scale a token serves both the look-up and, when tied, the scoring layer.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, embedding: TokenEmbedding, num_groups: int = 0) -> None:
        super().__init__()
        weight, scale = quantize_rows(embedding.weight)
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.product = Int8Product(num_groups)

    def floats(self) -> Float[Tensor, "V C"]:
        """What the integers stand for, in float32."""
        return self.weight.float() * self.scale[:, None]

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T C"]:
        """A look-up, in float32."""
        rows = F.embedding(ids, self.weight).float()
        return rows * F.embedding(ids, self.scale[:, None])

    def scores(self, hidden: Float[Tensor, "... C"]) -> Float[Tensor, "... V"]:
        """The product of each hidden vector with each token's vector."""
        return self.product(hidden, self.weight, self.scale)


def joined(layers: Sequence[Int8Linear]) -> Int8Linear:
    """One layer with the outputs of several that have the same inputs, one behind the other.

    The layers keep their numbers as views of its own, so that they take no room twice. All of them
    have a bias, or none has.
    """
    num_rows = sum(one.weight.shape[0] for one in layers)
    empty = nn.Linear(layers[0].weight.shape[1], num_rows, bias=False, device="meta")
    whole = Int8Linear(empty, layers[0].product.num_groups)
    whole.weight = torch.cat([one.weight for one in layers])
    whole.scale = torch.cat([one.scale for one in layers])
    if layers[0].bias is not None:
        whole.bias = nn.Parameter(torch.cat([one.bias for one in layers]), requires_grad=False)
    start = 0
    for one in layers:
        end = start + one.weight.shape[0]
        one.weight, one.scale = whole.weight[start:end], whole.scale[start:end]
        start = end
    return whole


def to_int8(model: ModelT, quantization: str = "int8") -> ModelT:
    """Replace every matrix of a float model by its int8 layer, in place.

    quantization: one of QUANTIZATIONS. Norms, biases and T5's relative positions stay float32.
    """
    is_dynamic = quantization == "int8-dynamic"
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                multiplies = isinstance(module, FeedForward) and name == "down"
                num_groups = num_product_groups(child.in_features) if multiplies else 1
                setattr(module, name, Int8Linear(child, num_groups * is_dynamic))
            elif isinstance(child, TokenEmbedding):
                setattr(module, name, Int8Embedding(child, int(is_dynamic)))
    model.quantization = quantization
    model.requires_grad_(False)
    return model
