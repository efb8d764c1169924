"""What every layout does alike: compare a file's names and shapes with a config's, and rename.

In: a config, tensors or stated shapes under another program's names, and a layout's table of names.
Out: the same under our names, or a refusal in the layout's words. Nothing here costs more than the
file's own list of tensors, whatever its config claims. This module does not know files, nor how any
family calls its tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from noria.errors import FormatError, UsageError
from noria.model.config import ModelConfig
from noria.model.heads import HeadConfig
from noria.model.layouts.shapes import check_bounds, check_shapes

Refuse = Callable[[str, str], FormatError]  # of what was given, and what was expected
NamesOf = Callable[[ModelConfig], dict[str, str]]  # our name of each tensor, with theirs
# our name of an activation: Hugging Face's
ACTIVATION_NAMES = {"silu": "silu", "relu": "relu", "gelu": "gelu", "gelu-tanh": "gelu_new"}
_SYNONYMS = {"swish": "silu", "gelu_pytorch_tanh": "gelu-tanh"}
_FLOATS = (torch.float32, torch.bfloat16, torch.float16)


class Parts(NamedTuple):
    """A published model as ours: its body, and its head if it has one that we know."""

    config: ModelConfig
    tensors: dict[str, Tensor]
    head: HeadConfig | None
    head_tensors: dict[str, Tensor]


@dataclass(frozen=True)
class Spare:
    """What a file may hold beyond its config's tensors, under their names.

    unread: endings of names that we have no use for, most of them tables that follow from the
    config.
    copies: tensors that repeat another, which is named; they are dropped if the numbers are equal.
    """

    unread: tuple[str, ...] = ()
    copies: Mapping[str, str] = field(default_factory=dict)


def renamed(
    tensors: Mapping[str, Tensor], names: Mapping[str, str], refuse: Refuse
) -> dict[str, Tensor]:
    """The same tensors under their other names. names: each tensor's name with its other one.

    Raises what `refuse` makes if a tensor is missing, unknown, or no float.
    """
    wrong = sorted(set(tensors) ^ set(names))
    if wrong:
        state = "missing" if wrong[0] in names else "unknown"
        raise refuse(f"tensor {wrong[0]} is {state}", "the tensors of the config's layers")
    for name, tensor in tensors.items():
        if tensor.dtype not in _FLOATS:
            raise refuse(f"tensor {name} of {tensor.dtype}", "floats: dequantize the model first")
    return {names[name]: tensor for name, tensor in tensors.items()}


def without_spare(tensors: Mapping[str, Tensor], spare: Spare) -> dict[str, Tensor]:
    """The tensors, less the unread ones and those that repeat another, number by number."""
    kept = {name: one for name, one in tensors.items() if not name.endswith(spare.unread)}
    for copy, original in spare.copies.items():
        if copy in kept and original in kept and torch.equal(kept[copy], kept[original]):
            del kept[copy]
    return kept


def tensors_to_ours(
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    names_of: NamesOf,
    refuse: Refuse,
    spare: Spare,
) -> dict[str, Tensor]:
    """Their tensors under our names, in float32, of the config's shapes.

    Raises FormatError for one that is missing, unknown, of another shape, or no float.
    """
    check_bounds(config, len(tensors))
    kept = without_spare(tensors, spare)
    found = renamed(kept, turned(names_of(config)), refuse)
    check_shapes(config, {name: tuple(tensor.shape) for name, tensor in found.items()})
    return {name: tensor.to(torch.float32).contiguous() for name, tensor in found.items()}


def check_stated(
    config: ModelConfig,
    shapes: Mapping[str, tuple[int, ...]],
    names_of: NamesOf,
    refuse: Refuse,
    spare: Spare,
) -> None:
    """Compare the tensors that files state, under their names, with those of the config.

    Raises FormatError for one that is missing, unknown or of another shape. Nothing is read yet.
    """
    check_bounds(config, len(shapes))
    names = turned(names_of(config))
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes.items():
        if name in names:
            found[names[name]] = shape
        elif not name.endswith(spare.unread) and name not in spare.copies:
            raise refuse(f"the tensor {name}", "the tensors of the config's layers")
    check_shapes(config, found)


def expect_values(
    hf_config: Mapping[str, Any], allowed: Mapping[str, tuple[Any, ...]], refuse: Refuse
) -> None:
    """Refuse a config in which a field has another value than those that we compute alike.

    allowed: a field's values; the first is what a config without the field has.
    """
    for name, values in allowed.items():
        if hf_config.get(name, values[0]) not in values:
            given = f"{name} = {hf_config[name]!r}"
            raise refuse(given, " or ".join(repr(one) for one in values))


def activation_of(name: Any, refuse: Refuse) -> str:
    """Our name of the activation that Hugging Face calls so. Raises FormatError for others."""
    known = turned(ACTIVATION_NAMES) | _SYNONYMS
    if not isinstance(name, str) or name not in known:
        raise refuse(f"the activation {name!r}", f"one of {', '.join(known)}")
    return known[name]


@contextmanager
def reading_fields(refuse: Refuse, expected: str) -> Iterator[None]:
    """Whatever goes wrong while a config's fields are read becomes a FormatError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise refuse(f"a config without {error}", expected) from error
    except UsageError as error:
        raise FormatError(error.given, error.expected, error.fix) from error


def comes_back(
    config: ModelConfig,
    described: Callable[[ModelConfig], dict[str, Any]],
    read: Callable[[Mapping[str, Any]], ModelConfig],
) -> bool:
    """Whether a layout's fields can say a config: whether it comes back from them as it was."""
    try:
        return read(described(config)) == config
    except FormatError:
        return False


def turned(names: Mapping[str, str]) -> dict[str, str]:
    """A table of names, read from right to left."""
    return {theirs: ours for ours, theirs in names.items()}
