"""The layout of T5 in Hugging Face's files (Raffel et al. 2020): T5ForConditionalGeneration.

In: our config and tensors, or theirs. Out: the other's. No number changes: only names do. Version
1.0 scores with its embedding, scaled by 1 / sqrt(C); version 1.1 (Shazeer 2020) gates its
feed-forward and scores with a matrix of its own, unscaled. Whatever we would compute differently is
refused. This module does not know files.
Legend: C width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
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
    expect_values,
    reading_fields,
    renamed,
    tensors_to_ours,
)
from noria.model.layouts.shapes import expect_semantics
from noria.model.styles import (
    AttentionStyle,
    Dropout,
    EmbeddingStyle,
    FeedForwardStyle,
    Norm,
    Positions,
)

# our names in attention and feed-forward: theirs
_ATTENTION = {"query": "q", "key": "k", "value": "v", "output": "o"}
_PLAIN = {"up": "wi", "down": "wo"}
_GATED = {"gate": "wi_0", "up": "wi_1", "down": "wo"}
_EMBEDDING, _HEAD = "shared.weight", "lm_head.weight"
_COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
# The first published files hold a bias of cross-attention, which no program reads.
_UNREAD = ("EncDecAttention.relative_attention_bias.weight",)
_ALLOWED: dict[str, tuple[Any, ...]] = {
    "model_type": ("t5",),
    "is_encoder_decoder": (True,),
    "quantization_config": (None,),
}
# T5 computes any length; this is what it was trained with, where a config does not say it.
_CONTEXT_TOKENS = 512


def to_t5(
    config: ModelConfig, tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Our config and float tensors as T5ForConditionalGeneration's config.json and tensors.

    Raises UsageError for a model whose semantics are not T5's, FormatError if the tensors are not
    those of the config.
    """
    expect_semantics(config, "T5", is_t5(config))
    found = renamed(tensors, t5_names(config), _refuse)
    if config.tied and not config.embedding.output_scaled:
        found[_HEAD] = found[_EMBEDDING].clone()  # their fields tie what they scale, and no other
    return _described(config), found


def from_t5(
    hf_config: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> tuple[ModelConfig, dict[str, Tensor]]:
    """A T5's config.json and tensors as our config and float32 tensors.

    Raises FormatError for a value or tensor that we would compute differently or not at all.
    """
    config = config_from_t5(hf_config)
    head, embedding = tensors.get(_HEAD), tensors.get(_EMBEDDING)
    if head is None or (embedding is not None and torch.equal(head, embedding)):
        config = replace(config, tied=True)
    return config, tensors_to_ours(config, tensors, t5_names, _refuse, _spare(config))


def config_from_t5(hf_config: Mapping[str, Any]) -> ModelConfig:
    """A T5's config.json as our config; a context that it does not say is 512 tokens.

    Untied where the scores are unscaled, as in version 1.1; a file without a matrix of scores is
    tied all the same, which `from_t5` sees. No tensor depends on the context, so that
    `dataclasses.replace` can make it longer.
    Raises FormatError for a value that is missing or that we would compute differently.
    """
    expect_values(hf_config, _ALLOWED, _refuse)
    ties = hf_config.get("tie_word_embeddings", True)
    scaled = hf_config.get("scale_decoder_outputs", ties)
    if scaled and not ties:
        raise _refuse("scaled scores of a matrix of their own", "scaled scores of the embedding")
    with reading_fields(_refuse, "the fields of T5Config"):
        width, num_heads, rate = hf_config["d_model"], hf_config["num_heads"], _rate(hf_config)
        own_head_width = hf_config["d_kv"]
        return ModelConfig(
            vocab_size=hf_config["vocab_size"],
            context_tokens=hf_config.get("n_positions", _CONTEXT_TOKENS),
            num_layers=hf_config.get("num_decoder_layers") or hf_config["num_layers"],
            num_encoder_layers=hf_config["num_layers"],
            width=width,
            num_heads=num_heads,
            num_kv_heads=num_heads,
            ffn_width=hf_config["d_ff"],
            tied=scaled,
            own_head_width=0 if own_head_width * num_heads == width else own_head_width,
            family="encoder-decoder",
            positions=Positions(
                kind="relative",
                buckets=hf_config.get("relative_attention_num_buckets", 32),
                distance_tokens=hf_config.get("relative_attention_max_distance", 128),
            ),
            norm=Norm(epsilon=hf_config.get("layer_norm_epsilon", 1e-6)),
            attention=AttentionStyle(scaled=False),
            feedforward=_feedforward(hf_config),
            embedding=EmbeddingStyle(output_scaled=scaled),
            dropout=Dropout(hidden=rate, attention=rate, activation=rate, output=rate),
        )


def is_t5(config: ModelConfig) -> bool:
    """Whether T5Config can say this config: whether it comes back as it was."""
    if config.embedding.output_scaled and not config.tied:
        return False
    try:
        said = config_from_t5(_described(config))
    except FormatError:
        return False
    return replace(said, tied=config.tied, own_head_width=config.own_head_width) == config


def check_t5_shapes(hf_config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare the tensors that files state, under their names, with those of their config.

    Raises FormatError for one that is missing, unknown or of another shape. Nothing is read yet.
    """
    config = config_from_t5(hf_config)
    if _HEAD not in shapes:
        config = replace(config, tied=True)
    check_stated(config, shapes, t5_names, _refuse, _spare(config))


def t5_names(config: ModelConfig) -> dict[str, str]:
    """Our name of each tensor of the config, with theirs."""
    names = {"embedding.weight": _EMBEDDING}
    sides = (("encoder", config.num_encoder_layers), ("decoder", config.num_layers))
    for side, num_layers in sides:
        first = f"{side}.block.0.layer.0.SelfAttention"
        names[f"{side}.relative.weight"] = f"{first}.relative_attention_bias.weight"
        block = _block_names(config, crosses=side == "decoder")
        for layer in range(num_layers):
            for ours, theirs in block.items():
                theirs = f"{side}.block.{layer}.layer.{theirs}.weight"
                names[f"{side}.blocks.{layer}.{ours}.weight"] = theirs
        names[f"{side}.final_norm.weight"] = f"{side}.final_layer_norm.weight"
    if not config.tied:
        names["head.weight"] = _HEAD
    return names


def _block_names(config: ModelConfig, *, crosses: bool) -> dict[str, str]:
    """Our names in a block with theirs: each of their layers is a norm and what follows it."""
    attentions = [("attention", "SelfAttention")]
    if crosses:
        attentions.append(("cross_attention", "EncDecAttention"))
    names = {}
    for at, (ours, theirs) in enumerate(attentions):
        names[f"{ours}_norm"] = f"{at}.layer_norm"
        for part, letter in _ATTENTION.items():
            names[f"{ours}.{part}"] = f"{at}.{theirs}.{letter}"
    last = len(attentions)
    names["feedforward_norm"] = f"{last}.layer_norm"
    for part, theirs in (_GATED if config.feedforward.gated else _PLAIN).items():
        names[f"feedforward.{part}"] = f"{last}.DenseReluDense.{theirs}"
    return names


def _described(config: ModelConfig) -> dict[str, Any]:
    """Our config in the fields of T5Config; what these cannot say is not in them.

    Special tokens are the tokenizer's: whoever writes a folder adds them.
    """
    style, scaled = config.feedforward, config.embedding.output_scaled
    projection = ACTIVATION_NAMES[style.activation]
    if style.gated:
        projection = f"gated-{'gelu' if projection == 'gelu_new' else projection}"
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "is_encoder_decoder": True,
        "vocab_size": config.vocab_size,
        "n_positions": config.context_tokens,
        "d_model": config.width,
        "d_kv": config.head_width,
        "d_ff": config.ffn_width,
        "num_layers": config.num_encoder_layers,
        "num_decoder_layers": config.num_layers,
        "num_heads": config.num_heads,
        "relative_attention_num_buckets": config.positions.buckets,
        "relative_attention_max_distance": config.positions.distance_tokens,
        "dropout_rate": config.dropout.hidden,
        "layer_norm_epsilon": config.norm.epsilon,
        "feed_forward_proj": projection,
        # Transformers 5 reads both, older versions take the second for the first.
        "scale_decoder_outputs": scaled,
        "tie_word_embeddings": scaled,
        "use_cache": True,
        "dtype": "float32",
    }


def _feedforward(hf_config: Mapping[str, Any]) -> FeedForwardStyle:
    """An activation, alone or after `gated-`; their `gated-gelu` is GELU's approximation."""
    stated = str(hf_config.get("feed_forward_proj", "relu"))
    gate, _, name = stated.rpartition("-")
    if gate not in ("", "gated"):
        raise _refuse(f"feed_forward_proj = {stated!r}", "an activation, or one after 'gated-'")
    if stated == "gated-gelu":
        name = "gelu_new"
    activation = activation_of(name, _refuse)
    # Newer files say the same in two more fields.
    if activation_of(hf_config.get("dense_act_fn", name), _refuse) != activation:
        raise _refuse(f"dense_act_fn = {hf_config['dense_act_fn']!r}", f"{name!r}, as in {stated}")
    expect_values(hf_config, {"is_gated_act": (bool(gate),)}, _refuse)
    return FeedForwardStyle(activation=activation, gated=bool(gate))


def _rate(hf_config: Mapping[str, Any]) -> float:
    """One rate serves all places of dropout."""
    return float(hf_config.get("dropout_rate", 0.1))


def _spare(config: ModelConfig) -> Spare:
    """Each side may repeat the embedding, and so may the scores where they are tied to it."""
    copies = (*_COPIES, _HEAD) if config.tied else _COPIES
    return Spare(_UNREAD, dict.fromkeys(copies, _EMBEDDING))


def _refuse(given: str, expected: str) -> FormatError:
    return FormatError(f"a T5 with {given}", expected, "use a plain T5 model")
