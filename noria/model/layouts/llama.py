"""The layout of Llama in Hugging Face's files: names of tensors and fields of the config.

In: our config and tensors, or theirs. Out: the other's. The semantics are equal, so no number
changes: only names do. Whatever we do not compute (biases, scaled positions) is refused.
This module does not know files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from noria.errors import FormatError
from noria.model.config import ModelConfig
from noria.model.layouts.renaming import (
    Spare,
    check_stated,
    expect_values,
    reading_fields,
    renamed,
    tensors_to_ours,
)
from noria.model.layouts.shapes import expect_plain_llama
from noria.model.styles import Norm, Positions

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
# what a config may say; the first is what one without the field has
_ALLOWED: dict[str, tuple[Any, ...]] = {
    "model_type": ("llama",),
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "rope_scaling": (None,),
    "rope_interleaved": (False,),
    "quantization_config": (None,),
}
_HF_DEFAULTS = {"rms_norm_eps": 1e-6, "max_position_embeddings": 2048, "rope_theta": 10000.0}


def to_llama(
    config: ModelConfig, tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Our config and float tensors as LlamaForCausalLM's config.json and tensors.

    Raises UsageError for a model that is no plain Llama, FormatError if the tensors are not those
    of the config.
    """
    expect_plain_llama(config)
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
        "rms_norm_eps": config.norm.epsilon,
        # Transformers 5 reads the second, older versions and other programs the first.
        "rope_theta": config.positions.base,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.positions.base},
        "tie_word_embeddings": config.tied,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": config.dropout.attention,
        "use_cache": True,
        "dtype": "float32",
    }
    return hf_config, renamed(tensors, llama_names(config), _refuse)


def from_llama(
    hf_config: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> tuple[ModelConfig, dict[str, Tensor]]:
    """A Llama's config.json and tensors as our config and float32 tensors.

    Raises FormatError for a value or tensor that we would compute differently or not at all.
    """
    config = config_from_llama(hf_config)
    return config, tensors_to_ours(config, tensors, llama_names, _refuse, _spare(config))


def config_from_llama(hf_config: Mapping[str, Any]) -> ModelConfig:
    """A Llama's config.json as our config.

    Raises FormatError for a value that is missing or that we would compute differently.
    """
    _refuse_unsupported(hf_config)
    with reading_fields(_refuse, "the fields of LlamaConfig"):
        num_heads = hf_config["num_attention_heads"]
        config = ModelConfig(
            vocab_size=hf_config["vocab_size"],
            context_tokens=_field(hf_config, "max_position_embeddings"),
            num_layers=hf_config["num_hidden_layers"],
            width=hf_config["hidden_size"],
            num_heads=num_heads,
            num_kv_heads=hf_config.get("num_key_value_heads") or num_heads,
            ffn_width=hf_config["intermediate_size"],
            positions=Positions(base=float(_rope_base(hf_config))),
            norm=Norm(epsilon=float(_field(hf_config, "rms_norm_eps"))),
            tied=hf_config.get("tie_word_embeddings", False),
        )
    if hf_config.get("head_dim") not in (None, config.head_width):
        raise _refuse(f"head_dim {hf_config['head_dim']}", f"{config.head_width}, width / heads")
    return config


def check_llama_shapes(hf_config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare the tensors that files state, under their names, with those of their config.

    Raises FormatError for one that is missing, unknown or of another shape. Nothing is read yet.
    """
    config = config_from_llama(hf_config)
    check_stated(config, shapes, llama_names, _refuse, _spare(config))


def llama_names(config: ModelConfig) -> dict[str, str]:
    """Our name of each tensor of the config, with theirs."""
    names = dict(_OTHER_NAMES)
    for layer in range(config.num_layers):
        for ours, theirs in _BLOCK_NAMES.items():
            names[f"blocks.{layer}.{ours}"] = f"model.layers.{layer}.{theirs}"
    if not config.tied:
        names[_HEAD[0]] = _HEAD[1]
    return names


def _spare(config: ModelConfig) -> Spare:
    """Some programs write the tied matrix twice."""
    copies = {_HEAD[1]: _OTHER_NAMES["embedding.weight"]} if config.tied else {}
    return Spare((COMPUTED_SUFFIX,), copies)


def _refuse_unsupported(hf_config: Mapping[str, Any]) -> None:
    expect_values(hf_config, _ALLOWED, _refuse)
    rope_type = _rope(hf_config).get("rope_type", "default")
    if rope_type != "default":
        raise _refuse(f"rope_parameters.rope_type = {rope_type!r}", "'default'")


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
