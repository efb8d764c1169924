"""The layout of Llama in GGUF files: keys of the metadata, names of tensors, order of rows.

In: our config and tensors, or theirs. Out: the other's. llama.cpp turns neighbouring rows of a
head's queries and keys where we turn rows half a head apart, so those rows change places; no
number changes. Only architecture "llama" is known, and of its keys only those whose meaning we
compute: any other is refused. This module does not know files.
Legend: H heads, D head width, C width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Shaped
from torch import Tensor

from noria.errors import FormatError, UsageError
from noria.model.config import ModelConfig
from noria.model.layouts.shapes import check_bounds, check_shapes, expect_plain_llama
from noria.model.styles import Norm, Positions

ARCHITECTURE = "llama"
# our name in a block: their name in a block
_BLOCK_NAMES = {
    "attention_norm.weight": "attn_norm.weight",
    "attention.query.weight": "attn_q.weight",
    "attention.key.weight": "attn_k.weight",
    "attention.value.weight": "attn_v.weight",
    "attention.output.weight": "attn_output.weight",
    "feedforward_norm.weight": "ffn_norm.weight",
    "feedforward.gate.weight": "ffn_gate.weight",
    "feedforward.up.weight": "ffn_up.weight",
    "feedforward.down.weight": "ffn_down.weight",
}
_EMBEDDING, _HEAD = "token_embd.weight", "output.weight"
# their key: our field
_COUNTS = {
    "llama.context_length": "context_tokens",
    "llama.block_count": "num_layers",
    "llama.embedding_length": "width",
    "llama.attention.head_count": "num_heads",
    "llama.attention.head_count_kv": "num_kv_heads",
    "llama.feed_forward_length": "ffn_width",
}
_FLOATS = {
    "llama.rope.freq_base": "base",
    "llama.attention.layer_norm_rms_epsilon": "epsilon",
}
_OPTIONAL = {"llama.attention.head_count_kv", "llama.rope.freq_base"}
_HEAD_WIDTHS = (
    "llama.rope.dimension_count",
    "llama.attention.key_length",
    "llama.attention.value_length",
)
_ROPE_BASE = 10000.0  # llama.cpp's own default
# Keys that may stand in a file as long as they say nothing: key, values that do.
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "general.type": ("model",),
    "split.count": (0, 1),
    "llama.rope.scaling.type": ("none",),
    "llama.rope.scaling.factor": (0.0, 1.0),
    "llama.rope.scale_linear": (0.0, 1.0),
    "llama.expert_count": (0,),
    "llama.expert_used_count": (0,),
    "llama.tensor_data_layout": ("Meta AI original pth",),  # the order of rows described above
}


def config_from_gguf(
    metadata: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> ModelConfig:
    """The config of a GGUF file, from its metadata and its tensors' names and shapes alone.

    Raises FormatError for another architecture, a value that we would compute differently, or
    tensors that are not those of the config.
    """
    _refuse_unsupported(metadata)
    embedding = shapes.get(_EMBEDDING)
    if embedding is None or len(embedding) != 2:
        raise _refuse(f"{_EMBEDDING} of shape {embedding}", "vocabulary by width")
    stated = metadata.get("llama.vocab_size", embedding[0])
    if stated != embedding[0]:
        raise _refuse(f"llama.vocab_size {stated!r}", f"{embedding[0]}, the embedding's rows")
    fields: dict[str, Any] = {"base": _ROPE_BASE}
    for key, name in (_COUNTS | _FLOATS).items():
        if key in metadata:
            fields[name] = metadata[key]
        elif key not in _OPTIONAL:
            raise _refuse(f"no {key}", "the keys of a llama")
    fields.setdefault("num_kv_heads", fields["num_heads"])
    for name in _FLOATS.values():
        fields[name] = _decimal(fields[name])
    try:
        positions, norm = Positions(base=fields.pop("base")), Norm(epsilon=fields.pop("epsilon"))
        counts = {"vocab_size": embedding[0], **fields}
        config = ModelConfig(**counts, tied=_HEAD not in shapes, positions=positions, norm=norm)
    except UsageError as error:
        raise FormatError(error.given, error.expected, error.fix) from error
    for key in _HEAD_WIDTHS:
        if metadata.get(key, config.head_width) != config.head_width:
            raise _refuse(f"{key} {metadata[key]!r}", f"{config.head_width}, width / heads")
    check_bounds(config, len(shapes))
    ours = {theirs: name for name, theirs in gguf_names(config).items()}
    unknown = sorted(shapes.keys() - ours.keys())
    if unknown:
        raise _refuse(f"the tensor {unknown[0]}", "the tensors of the config's layers")
    check_shapes(config, {ours[name]: shape for name, shape in shapes.items()})
    return config


def gguf_names(config: ModelConfig) -> dict[str, str]:
    """Our name of each tensor of the config, with theirs."""
    names = {"embedding.weight": _EMBEDDING, "final_norm.weight": "output_norm.weight"}
    for layer in range(config.num_layers):
        for ours, theirs in _BLOCK_NAMES.items():
            names[f"blocks.{layer}.{ours}"] = f"blk.{layer}.{theirs}"
    if not config.tied:
        names["head.weight"] = _HEAD
    return names


def from_gguf_rows(
    config: ModelConfig, name: str, tensor: Shaped[Tensor, "*shape"]
) -> Shaped[Tensor, "*shape"]:
    """A tensor of a GGUF file as ours, by our name: rows of queries and keys are put back."""
    heads = _num_turned_heads(config, name)
    if heads is None:
        return tensor
    pairs = tensor.reshape(heads, config.head_width // 2, 2, -1)  # (H, D/2, 2, C)
    return pairs.transpose(1, 2).reshape(tensor.shape)


def to_gguf(
    config: ModelConfig, tensors: Mapping[str, Tensor]
) -> tuple[dict[str, int | float], dict[str, Tensor]]:
    """Our config and float tensors as a GGUF llama's metadata (`llama.*`) and tensors.

    Raises UsageError for a model that is no plain Llama, FormatError if the tensors are not those
    of the config.
    """
    expect_plain_llama(config)
    check_shapes(config, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
    metadata: dict[str, int | float] = {"llama.vocab_size": config.vocab_size}
    metadata["llama.rope.dimension_count"] = config.head_width
    for key, name in _COUNTS.items():
        metadata[key] = getattr(config, name)
    for key, name in _FLOATS.items():
        metadata[key] = float(getattr(config.positions if name == "base" else config.norm, name))
    names = gguf_names(config)
    return metadata, {names[n]: _to_gguf_rows(config, n, one) for n, one in tensors.items()}


def _to_gguf_rows(config: ModelConfig, name: str, tensor: Tensor) -> Tensor:
    heads = _num_turned_heads(config, name)
    if heads is None:
        return tensor.contiguous()
    halves = tensor.reshape(heads, 2, config.head_width // 2, -1)  # (H, 2, D/2, C)
    return halves.transpose(1, 2).reshape(tensor.shape).contiguous()


def _num_turned_heads(config: ModelConfig, name: str) -> int | None:
    if name.endswith(".attention.query.weight"):
        return config.num_heads
    if name.endswith(".attention.key.weight"):
        return config.num_kv_heads
    return None


def _decimal(value: Any) -> Any:
    """A float32 of the file as the shortest decimal that is that float32: 1e-05, not 9.99…e-06."""
    if type(value) is not float:
        return value
    with np.errstate(over="ignore"):  # a double beyond float32 is infinite, which no config takes
        return float(str(np.float32(value)))


def _refuse_unsupported(metadata: Mapping[str, Any]) -> None:
    found = metadata.get("general.architecture")
    if found != ARCHITECTURE:
        raise _refuse(f"architecture {found!r}", f"{ARCHITECTURE!r}")
    known = {*_COUNTS, *_FLOATS, *_HEAD_WIDTHS, "llama.vocab_size"}
    for key, value in metadata.items():
        if key in _HARMLESS:
            if value not in _HARMLESS[key]:
                allowed = " or ".join(repr(one) for one in _HARMLESS[key])
                raise _refuse(f"{key} = {value!r}", allowed)
        elif key.startswith(f"{ARCHITECTURE}.") and key not in known:
            raise _refuse(f"the key {key}", "a plain llama's keys")


def _refuse(given: str, expected: str) -> FormatError:
    return FormatError(f"a GGUF model with {given}", expected, "use a plain Llama model")
