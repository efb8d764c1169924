"""The layout of GPT-2 in Hugging Face's files (Radford et al. 2019): GPT2LMHeadModel.

In: our config and tensors, or theirs. Out: the other's. Their matrices are stored as (inputs,
outputs), the transpose of ours, and queries, keys and values lie side by side in one. Whatever we
would compute differently (scales that depend on the layer, cross-attention) is refused.
This module does not know files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from noria.errors import FormatError
from noria.model.config import ModelConfig
from noria.model.layouts.renaming import (
    ACTIVATION_NAMES,
    Spare,
    activation_of,
    check_stated,
    comes_back,
    expect_values,
    reading_fields,
    renamed,
    tensors_to_ours,
)
from noria.model.layouts.shapes import expect_semantics
from noria.model.styles import AttentionStyle, Dropout, FeedForwardStyle, Norm, Positions

# our name in a block: their name in a layer, each with a weight and a bias. What follows a colon
# is a third of their c_attn: it is split and joined here, and stands in no file.
_BLOCK_NAMES = {
    "attention_norm": "ln_1",
    "attention.query": "attn.c_attn:query",
    "attention.key": "attn.c_attn:key",
    "attention.value": "attn.c_attn:value",
    "attention.output": "attn.c_proj",
    "feedforward_norm": "ln_2",
    "feedforward.up": "mlp.c_fc",
    "feedforward.down": "mlp.c_proj",
}
_OTHER_NAMES = {
    "embedding.weight": "wte.weight",
    "positions.weight": "wpe.weight",
    "final_norm.weight": "ln_f.weight",
    "final_norm.bias": "ln_f.bias",
}
_HEAD = "lm_head.weight"
_BODY = "transformer."  # GPT2Model by itself has names without it
_JOINED = ".c_attn."
_THIRDS = (".c_attn:query.", ".c_attn:key.", ".c_attn:value.")
_TRANSPOSED = (".c_attn.weight", ".c_proj.weight", ".c_fc.weight")
COMPUTED = (".attn.bias", ".attn.masked_bias")  # causal masks, in old files
_ALLOWED: dict[str, tuple[Any, ...]] = {
    "model_type": ("gpt2",),
    "scale_attn_by_inverse_layer_idx": (False,),
    "reorder_and_upcast_attn": (False,),
    "add_cross_attention": (False,),
    "quantization_config": (None,),
}


def to_gpt2(
    config: ModelConfig, tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Our config and float tensors as GPT2LMHeadModel's config.json and tensors.

    Raises UsageError for a model whose semantics are not GPT-2's, FormatError if the tensors are
    not those of the config.
    """
    expect_semantics(config, "GPT-2", is_gpt2(config))
    return _described(config), _joined(renamed(tensors, gpt2_names(config), _refuse))


def from_gpt2(
    hf_config: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> tuple[ModelConfig, dict[str, Tensor]]:
    """A GPT-2's config.json and tensors as our config and float32 tensors.

    Raises FormatError for a value or tensor that we would compute differently or not at all.
    """
    config = config_from_gpt2(hf_config)
    split = _split(tensors)
    return config, tensors_to_ours(config, split, gpt2_names, _refuse, _spare(config))


def config_from_gpt2(hf_config: Mapping[str, Any]) -> ModelConfig:
    """A GPT-2's config.json as our config.

    Raises FormatError for a value that is missing or that we would compute differently.
    """
    expect_values(hf_config, _ALLOWED, _refuse)
    with reading_fields(_refuse, "the fields of GPT2Config"):
        width, num_heads = hf_config["n_embd"], hf_config["n_head"]
        ffn_width = hf_config.get("n_inner")
        hidden_dropout = hf_config.get("resid_pdrop", 0.1)
        if hf_config.get("embd_pdrop", 0.1) != hidden_dropout:
            raise _refuse("embd_pdrop that is not resid_pdrop", "one rate for both")
        activation = activation_of(hf_config.get("activation_function", "gelu_new"), _refuse)
        return ModelConfig(
            vocab_size=hf_config["vocab_size"],
            context_tokens=hf_config["n_positions"],
            num_layers=hf_config["n_layer"],
            width=width,
            num_heads=num_heads,
            num_kv_heads=num_heads,
            ffn_width=4 * width if ffn_width is None else ffn_width,
            tied=hf_config.get("tie_word_embeddings", True),
            positions=Positions(kind="learned"),
            norm=Norm(kind="layer", epsilon=hf_config.get("layer_norm_epsilon", 1e-5)),
            attention=AttentionStyle(bias=True, scaled=hf_config.get("scale_attn_weights", True)),
            feedforward=FeedForwardStyle(activation=activation, gated=False, bias=True),
            dropout=Dropout(hidden=hidden_dropout, attention=hf_config.get("attn_pdrop", 0.1)),
        )


def is_gpt2(config: ModelConfig) -> bool:
    """Whether GPT2Config can say this config: whether it comes back as it was."""
    return comes_back(config, _described, config_from_gpt2)


def check_gpt2_shapes(hf_config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare the tensors that files state, under their names, with those of their config.

    Raises FormatError for one that is missing, unknown or of another shape. Nothing is read yet.
    """
    config = config_from_gpt2(hf_config)
    stated = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    split = {name: tuple(tensor.shape) for name, tensor in _split(stated).items()}
    check_stated(config, split, gpt2_names, _refuse, _spare(config))


def gpt2_names(config: ModelConfig) -> dict[str, str]:
    """Our name of each tensor of the config, with theirs; c_attn's thirds each have their own."""
    names = {ours: _BODY + theirs for ours, theirs in _OTHER_NAMES.items()}
    for layer in range(config.num_layers):
        for ours, theirs in _BLOCK_NAMES.items():
            for kind in ("weight", "bias"):
                names[f"blocks.{layer}.{ours}.{kind}"] = f"{_BODY}h.{layer}.{theirs}.{kind}"
    if not config.tied:
        names["head.weight"] = _HEAD
    return names


def _described(config: ModelConfig) -> dict[str, Any]:
    """Our config in the fields of GPT2Config; what these cannot say is not in them."""
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": config.vocab_size,
        "n_positions": config.context_tokens,
        "n_embd": config.width,
        "n_layer": config.num_layers,
        "n_head": config.num_heads,
        "n_inner": config.ffn_width,
        "activation_function": ACTIVATION_NAMES[config.feedforward.activation],
        "layer_norm_epsilon": config.norm.epsilon,
        "scale_attn_weights": config.attention.scaled,
        "embd_pdrop": config.dropout.hidden,
        "resid_pdrop": config.dropout.hidden,
        "attn_pdrop": config.dropout.attention,
        "tie_word_embeddings": config.tied,
        "use_cache": True,
        "dtype": "float32",
    }


def _joined(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Thirds of c_attn put together, and matrices transposed."""
    joined: dict[str, list[Tensor]] = {}
    for name, tensor in tensors.items():
        whole = name
        for third in _THIRDS:
            whole = whole.replace(third, _JOINED)
        joined.setdefault(whole, []).append(tensor)
    wholes = {name: torch.cat(one) if len(one) > 1 else one[0] for name, one in joined.items()}
    return {name: one.T if name.endswith(_TRANSPOSED) else one for name, one in wholes.items()}


def _split(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The opposite of `_joined`; a body by itself gets the names that it has in a model."""
    bare = not any(name.startswith(_BODY) for name in tensors)
    split: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if any(third in name for third in _THIRDS):
            raise _refuse(f"the tensor {name}", "the tensors of the config's layers")
        whole = _BODY + name if bare and name != _HEAD else name
        turned = tensor.T if whole.endswith(_TRANSPOSED) and tensor.ndim == 2 else tensor
        if _JOINED in whole and tensor.ndim > 0:
            for third, part in zip(_THIRDS, turned.chunk(3), strict=False):
                split[whole.replace(_JOINED, third)] = part
        else:
            split[whole] = turned
    return split


def _spare(config: ModelConfig) -> Spare:
    """Some programs write the tied matrix twice."""
    copies = {_HEAD: _BODY + _OTHER_NAMES["embedding.weight"]} if config.tied else {}
    return Spare(COMPUTED, copies)


def _refuse(given: str, expected: str) -> FormatError:
    return FormatError(f"a GPT-2 with {given}", expected, "use a plain GPT-2 model")
