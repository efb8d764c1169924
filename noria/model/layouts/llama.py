"""The layout of Llama in Hugging Face's files: names of tensors and fields of the config.

In: our config and tensors, or theirs. Out: the other's. The semantics are equal, so no number
changes: only names do. Whatever we do not compute (biases, scaled positions) is refused.
This module does not know files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from noria.errors import FormatError, UsageError
from noria.model.config import ModelConfig
from noria.model.layouts.shapes import check_bounds, check_shapes

# our name in a block: their name in a layer
_BLOCK_NAMES = {
    "attention_norm.weight": "input_layernorm.weight",
    "attention.query.weight": "self_attn.q_proj.weight",
    "attention.key.weight": "self_attn.k_proj.weight",
    "attention.value.weight": "self_attn.v_proj.weight",
    "attention.output.weight": "self_attn.o_proj.weight",
    "feedforward_norm.weight": "post_attention_layernorm.weight",
    "feedforward.gate.weight": "mlp.gate_proj.weight",
    "feedforward.up.weight": "mlp.up_proj.weight",
    "feedforward.down.weight": "mlp.down_proj.weight",
}
_OTHER_NAMES = {
    "embedding.weight": "model.embed_tokens.weight",
    "final_norm.weight": "model.norm.weight",
}
_HEAD = ("head.weight", "lm_head.weight")
COMPUTED_SUFFIX = "rotary_emb.inv_freq"  # old programs stored these; they follow from the config
_FLOATS = (torch.float32, torch.bfloat16, torch.float16)
_HF_DEFAULTS = {"rms_norm_eps": 1e-6, "max_position_embeddings": 2048, "rope_theta": 10000.0}


def to_llama(
    config: ModelConfig, tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Our config and float tensors as LlamaForCausalLM's config.json and tensors.

    Raises FormatError if the tensors are not those of the config.
    """
    hf_config: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": config.ffn_width,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_width,
        "max_position_embeddings": config.context_tokens,
        "rms_norm_eps": config.norm_epsilon,
        # Transformers 5 reads the second, older versions and other programs the first.
        "rope_theta": config.rope_base,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_base},
        "tie_word_embeddings": config.tied,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "use_cache": True,
        "dtype": "float32",
    }
    return hf_config, _renamed(tensors, llama_names(config))


def from_llama(
    hf_config: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> tuple[ModelConfig, dict[str, Tensor]]:
    """A Llama's config.json and tensors as our config and float32 tensors.

    Raises FormatError for a value or tensor that we would compute differently or not at all.
    """
    config = config_from_llama(hf_config)
    check_bounds(config, len(tensors))
    kept = {name: one for name, one in tensors.items() if not name.endswith(COMPUTED_SUFFIX)}
    embedding, head = (kept.get(name) for name in (_OTHER_NAMES["embedding.weight"], _HEAD[1]))
    if config.tied and head is not None and embedding is not None and torch.equal(head, embedding):
        del kept[_HEAD[1]]  # some programs write the tied matrix twice
    renamed = _renamed(kept, {theirs: ours for ours, theirs in llama_names(config).items()})
    check_shapes(config, {name: tuple(tensor.shape) for name, tensor in renamed.items()})
    return config, {name: one.to(torch.float32).contiguous() for name, one in renamed.items()}


def config_from_llama(hf_config: Mapping[str, Any]) -> ModelConfig:
    """A Llama's config.json as our config.

    Raises FormatError for a value that is missing or that we would compute differently.
    """
    _refuse_unsupported(hf_config)
    try:
        num_heads = hf_config["num_attention_heads"]
        config = ModelConfig(
            vocab_size=hf_config["vocab_size"],
            context_tokens=_field(hf_config, "max_position_embeddings"),
            num_layers=hf_config["num_hidden_layers"],
            width=hf_config["hidden_size"],
            num_heads=num_heads,
            num_kv_heads=hf_config.get("num_key_value_heads") or num_heads,
            ffn_width=hf_config["intermediate_size"],
            rope_base=float(_rope_base(hf_config)),
            norm_epsilon=float(_field(hf_config, "rms_norm_eps")),
            tied=hf_config.get("tie_word_embeddings", False),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _refuse(f"a config without {error}", "the fields of LlamaConfig") from error
    except UsageError as error:
        raise FormatError(error.given, error.expected, error.fix) from error
    if hf_config.get("head_dim") not in (None, config.head_width):
        raise _refuse(f"head_dim {hf_config['head_dim']}", f"{config.head_width}, width / heads")
    return config


def check_llama_shapes(config: ModelConfig, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare the tensors that files state, under their names, with those of the config.

    Raises FormatError for one that is missing, unknown or of another shape. Nothing is read yet.
    """
    check_bounds(config, len(shapes))
    names = {theirs: ours for ours, theirs in llama_names(config).items()}
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes.items():
        if name in names:
            found[names[name]] = shape
        elif not name.endswith(COMPUTED_SUFFIX) and not (config.tied and name == _HEAD[1]):
            raise _refuse(f"the tensor {name}", "the tensors of the config's layers")
    check_shapes(config, found)


def llama_names(config: ModelConfig) -> dict[str, str]:
    """Our name of each tensor of the config, with theirs."""
    names = dict(_OTHER_NAMES)
    for layer in range(config.num_layers):
        for ours, theirs in _BLOCK_NAMES.items():
            names[f"blocks.{layer}.{ours}"] = f"model.layers.{layer}.{theirs}"
    if not config.tied:
        names[_HEAD[0]] = _HEAD[1]
    return names


def _renamed(tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    wrong = sorted(set(tensors) ^ set(names))
    if wrong:
        state = "missing" if wrong[0] in names else "unknown"
        raise _refuse(f"tensor {wrong[0]} is {state}", "the tensors of the config's layers")
    for name, tensor in tensors.items():
        if tensor.dtype not in _FLOATS:
            raise _refuse(f"tensor {name} of {tensor.dtype}", "floats: dequantize the model first")
    return {names[name]: tensor for name, tensor in tensors.items()}


def _refuse_unsupported(hf_config: Mapping[str, Any]) -> None:
    rope = _rope(hf_config)
    for name, value, allowed in (
        ("model_type", hf_config.get("model_type"), ("llama",)),
        ("hidden_act", hf_config.get("hidden_act", "silu"), ("silu",)),
        ("attention_bias", hf_config.get("attention_bias", False), (False,)),
        ("mlp_bias", hf_config.get("mlp_bias", False), (False,)),
        ("rope_scaling", hf_config.get("rope_scaling"), (None,)),
        ("rope_parameters.rope_type", rope.get("rope_type", "default"), ("default",)),
        ("rope_interleaved", hf_config.get("rope_interleaved", False), (False,)),
        ("quantization_config", hf_config.get("quantization_config"), (None,)),
    ):
        if value not in allowed:
            raise _refuse(f"{name} = {value!r}", " or ".join(repr(one) for one in allowed))


def _field(hf_config: Mapping[str, Any], name: str) -> Any:
    """A field that Hugging Face leaves out when it has its default."""
    return hf_config.get(name, _HF_DEFAULTS[name])


def _rope(hf_config: Mapping[str, Any]) -> dict[str, Any]:
    rope = hf_config.get("rope_parameters") or {}
    if not isinstance(rope, dict):
        raise _refuse(f"rope_parameters = {rope!r}", "an object")
    return rope


def _rope_base(hf_config: Mapping[str, Any]) -> Any:
    rope = _rope(hf_config)
    return rope.get("rope_theta", _field(hf_config, "rope_theta"))


def _refuse(given: str, expected: str) -> FormatError:
    return FormatError(f"a Llama with {given}", expected, "use a plain Llama model")
