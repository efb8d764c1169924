"""What tensors a config asks for, known before any of them is built or read.

In: a config, and the shapes that a file states. Out: nothing, or a refusal. A config from a file
can ask for a billion layers: everything here costs no more than the file's own list of tensors.
This module does not know files or any other program's names.
"""

from __future__ import annotations

from collections.abc import Mapping

from noria.errors import FormatError, UsageError
from noria.model.config import ModelConfig
from noria.model.shapes import block_shapes, tensor_shapes

# A model is built with its table of positions; 262,144 tokens of rotary heads of 128 fit.
MAX_COMPUTED_NUMBERS = 1 << 25


def check_bounds(config: ModelConfig, num_tensors: int) -> None:
    """Refuse a config whose model could not be that of a file with so many tensors.

    Raises FormatError. After it, building the model's frame costs little.
    """
    a_layer = len(block_shapes(config, crosses=False))
    num_layers = config.num_layers + config.num_encoder_layers
    if num_layers * a_layer > num_tensors:
        raise FormatError(
            f"a model of {num_layers} layers in {num_tensors} tensors",
            f"{a_layer} tensors a layer",
            "fetch the model again",
        )
    table_width = {"rotary": config.head_width, "sinusoidal": config.width}
    computed = config.context_tokens * table_width.get(config.positions.kind, 0)
    if computed > MAX_COMPUTED_NUMBERS:
        raise FormatError(
            f"a context of {config.context_tokens} tokens with {computed} sines and cosines",
            f"at most {MAX_COMPUTED_NUMBERS}",
            "use a model with a shorter context",
        )


def expect_plain_llama(config: ModelConfig) -> None:
    """Raise UsageError for a model whose semantics are not Llama's."""
    expect_semantics(config, "Llama", config.is_plain_llama())


def expect_semantics(config: ModelConfig, name: str, fits: bool) -> None:
    """Raise UsageError for a model that does not fit the layout of that name."""
    if not fits:
        raise UsageError(
            f"a model of family {config.family!r} with its own styles, to be written as a {name}",
            f"a model with {name}'s semantics",
            "export a model of a plain preset",
        )


def check_shapes(config: ModelConfig, found: Mapping[str, tuple[int, ...]]) -> None:
    """Compare the shapes that a file states, under our names, with the config's.

    Raises FormatError naming the first tensor that is missing, unknown or different.
    """
    check_bounds(config, len(found))
    compare_shapes(tensor_shapes(config), found)


def compare_shapes(
    wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise FormatError naming the first tensor that is missing, unknown or different."""
    for name in [*wanted, *sorted(found.keys() - wanted.keys())]:
        if found.get(name) != wanted.get(name):
            raise FormatError(
                f"tensor {name} is {_shown(found.get(name))}",
                f"{_shown(wanted.get(name))}, as the model's config says",
                "fetch the model again",
            )


def _shown(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else f"of shape {list(shape)}"
