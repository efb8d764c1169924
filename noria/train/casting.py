"""Frozen matrices in the numbers that they are multiplied in, for as long as a training lasts.

In: a model of which some matrices do not train. Out: the same model, whose products are the same to
the bit; without this, every product under autocast makes its own short copy of the matrix anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from noria.model.adapted import AdaptedLinear
from noria.model.likelihood import Scores
from noria.train.parallel import is_cut


@contextmanager
def cast_once(model: nn.Module, precision: str) -> Iterator[None]:
    """Hold frozen matrices in bfloat16 meanwhile, if that is the precision of products.

    The float32 ones come back afterwards; weights cut over processes are not touched, which FSDP2
    puts together block by block. Embeddings stay as they are for the look-up; a frozen
    output matrix has a short copy beside it.
    """
    if precision != "bfloat16" or is_cut(model):
        yield
        return
    whole: list[tuple[nn.Parameter, torch.Tensor]] = []
    for module in model.modules():
        if isinstance(module, nn.Linear | AdaptedLinear):
            weight = module.weight
            if isinstance(weight, nn.Parameter) and not weight.requires_grad:
                whole.append((weight, weight.data))
                weight.data = weight.data.bfloat16()
    held = isinstance(model, Scores) and not model.output_weight().requires_grad
    if held:
        short = model.output_weight().detach().bfloat16()  # type: ignore[operator]
        model.output_weight = lambda: short  # type: ignore[assignment]
    try:
        yield
    finally:
        for weight, data in whole:
            weight.data = data
        if held:
            del model.output_weight
