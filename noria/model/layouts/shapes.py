"""What tensors a config asks for, known before any of them is built or read.

In: a config, and the shapes that a file states. Out: nothing, or a refusal. A config from a file
can ask for a billion layers: everything here costs no more than the file's own list of tensors.
This module does not know files or any other program's names.
"""

from __future__ import annotations

from collections.abc import Mapping

from noria.errors import FormatError
from noria.model.config import ModelConfig

BLOCK_TENSORS = 9
# A model is built with its table of rotary positions; 262,144 tokens of heads of 128 fit.
MAX_ROTARY_NUMBERS = 1 << 25


def tensor_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a float model."""
    width, kv_width, ffn_width = config.width, config.kv_width, config.ffn_width
    block = {
        "attention_norm.weight": (width,),
        "attention.query.weight": (width, width),
        "attention.key.weight": (kv_width, width),
        "attention.value.weight": (kv_width, width),
        "attention.output.weight": (width, width),
        "feedforward_norm.weight": (width,),
        "feedforward.gate.weight": (ffn_width, width),
        "feedforward.up.weight": (ffn_width, width),
        "feedforward.down.weight": (width, ffn_width),
    }
    shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (config.vocab_size, width)}
    for layer in range(config.num_layers):
        shapes |= {f"blocks.{layer}.{name}": shape for name, shape in block.items()}
    shapes["final_norm.weight"] = (width,)
    if not config.tied:
        shapes["head.weight"] = (config.vocab_size, width)
    return shapes


def check_bounds(config: ModelConfig, num_tensors: int) -> None:
    """Refuse a config whose model could not be that of a file with so many tensors.

    Raises FormatError. After it, building the model's frame costs little.
    """
    if config.num_layers * BLOCK_TENSORS > num_tensors:
        raise FormatError(
            f"a model of {config.num_layers} layers in {num_tensors} tensors",
            f"{BLOCK_TENSORS} tensors a layer",
            "fetch the model again",
        )
    if config.context_tokens * config.head_width > MAX_ROTARY_NUMBERS:
        raise FormatError(
            f"a context of {config.context_tokens} tokens with heads of {config.head_width}",
            f"at most {MAX_ROTARY_NUMBERS} for their product",
            "use a model with a shorter context",
        )


def check_shapes(config: ModelConfig, found: Mapping[str, tuple[int, ...]]) -> None:
    """Compare the shapes that a file states, under our names, with the config's.

    Raises FormatError naming the first tensor that is missing, unknown or different.
    """
    check_bounds(config, len(found))
    wanted = tensor_shapes(config)
    for name in [*wanted, *sorted(found.keys() - wanted.keys())]:
        if found.get(name) != wanted.get(name):
            raise FormatError(
                f"tensor {name} is {_shown(found.get(name))}",
                f"{_shown(wanted.get(name))}, as the model's config says",
                "fetch the model again",
            )


def _shown(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else f"of shape {list(shape)}"
