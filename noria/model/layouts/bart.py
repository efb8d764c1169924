"""The layout of BART and Marian in Hugging Face's files (Lewis et al. 2019, Junczys-Dowmunt et al.
2018): BartForConditionalGeneration and MarianMTModel.

In: our config and tensors, or theirs. Out: the other's. Both have the same names; BART learns its
positions and norms its embeddings, Marian has sines and no such norm. No number changes. BART's
table of positions begins with two rows that no token reads: they are dropped, and written as zeros.
Whatever we would compute differently is refused. Which tokens pad and start a target is the
tokenizer's: here padding has a vector as any token, which learns. This module does not know files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
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
from noria.model.positions import sinusoidal_table
from noria.model.styles import (
    AttentionStyle,
    Dropout,
    EmbeddingStyle,
    FeedForwardStyle,
    Norm,
    Positions,
)

# our name in a block: their name in a layer, each with a weight and a bias
_CROSS_NAMES = {
    "cross_attention.query": "encoder_attn.q_proj",
    "cross_attention.key": "encoder_attn.k_proj",
    "cross_attention.value": "encoder_attn.v_proj",
    "cross_attention.output": "encoder_attn.out_proj",
    "cross_attention_norm": "encoder_attn_layer_norm",
}
_BLOCK_NAMES = {
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.out_proj",
    "attention_norm": "self_attn_layer_norm",
    "feedforward.up": "fc1",
    "feedforward.down": "fc2",
    "feedforward_norm": "final_layer_norm",
}
_BODY = "model."  # BartModel by itself has names without it
_EMBEDDING, _BIAS = "model.shared.weight", "final_logits_bias"
_COPIES = (
    "model.encoder.embed_tokens.weight",
    "model.decoder.embed_tokens.weight",
    "lm_head.weight",
)
_POSITIONS = ("model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight")
_UNREAD_ROWS = 2  # of BART's positions; that of a token at place p is p + 2
_SINES_TOLERANCE = 5e-3  # of a table that was stored in 16 bits
_ALLOWED: dict[str, tuple[Any, ...]] = {
    "is_encoder_decoder": (True,),
    "tie_word_embeddings": (True,),
    "share_encoder_decoder_embeddings": (True,),
    "normalize_before": (False,),
    "add_final_layer_norm": (False,),
    "encoder_layerdrop": (0.0,),
    "decoder_layerdrop": (0.0,),
    "quantization_config": (None,),
}
# what old files say and newer programs take from the model_type alone
_KINDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "bart": {"normalize_embedding": (True,), "static_position_embeddings": (False,)},
    "marian": {"normalize_embedding": (False,), "static_position_embeddings": (True,)},
}
_NORM = Norm(kind="layer", place="after")  # torch's own epsilon, 1e-5; no field says it
_SPECIAL_TOKENS = ("pad_token_id", "bos_token_id", "eos_token_id", "forced_eos_token_id")
FoundT = TypeVar("FoundT")


def to_bart(
    config: ModelConfig, tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Our config and float tensors as config.json and tensors of BART or, with sines, Marian.

    Raises UsageError for a model whose semantics are neither's, FormatError if the tensors are not
    those of the config.
    """
    expect_semantics(config, "BART or Marian", is_bart(config))
    found = renamed(tensors, bart_names(config), _refuse)
    found[_BIAS] = found[_BIAS][None]  # (1, V)
    for name in _learned(config):
        found[name] = F.pad(found[name], (0, 0, _UNREAD_ROWS, 0))  # rows of zeros, on top
    return _described(config), found


def from_bart(
    hf_config: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Config.json and tensors of a BART or Marian as our config and float32 tensors.

    Raises FormatError for a value or tensor that we would compute differently or not at all.
    """
    config = config_from_bart(hf_config)
    found = _whole(tensors, torch.zeros(()).expand(1, config.vocab_size))
    found[_BIAS] = found[_BIAS].reshape(-1)
    for name in _learned(config) & found.keys():
        found[name] = found[name][_UNREAD_ROWS:]
    if config.positions.kind == "sinusoidal":
        _check_sines(config, found)
    return config, tensors_to_ours(config, found, bart_names, _refuse, _spare(config))


def config_from_bart(hf_config: Mapping[str, Any]) -> ModelConfig:
    """A config.json of BART or Marian as our config.

    Raises FormatError for a value that is missing or that we would compute differently.
    """
    kind = str(hf_config.get("model_type"))
    if kind not in _KINDS:
        raise _refuse(f"model_type = {kind!r}", " or ".join(repr(one) for one in _KINDS))
    expect_values(hf_config, _ALLOWED | _KINDS[kind], _refuse)
    with reading_fields(_refuse, "the fields of BartConfig"):
        vocab_size = hf_config["vocab_size"]
        if hf_config.get("decoder_vocab_size") not in (None, vocab_size):
            raise _refuse("a vocabulary of its own on each side", "one vocabulary")
        num_heads = _of_both_sides(hf_config, "attention_heads")
        learned = Positions(kind="learned")
        sines = Positions(kind="sinusoidal", interleaved=False)
        return ModelConfig(
            vocab_size=vocab_size,
            context_tokens=hf_config["max_position_embeddings"],
            num_layers=hf_config["decoder_layers"],
            num_encoder_layers=hf_config["encoder_layers"],
            width=hf_config["d_model"],
            num_heads=num_heads,
            num_kv_heads=num_heads,
            ffn_width=_of_both_sides(hf_config, "ffn_dim"),
            family="encoder-decoder",
            positions=learned if kind == "bart" else sines,
            norm=_NORM,
            attention=AttentionStyle(bias=True),
            feedforward=FeedForwardStyle(
                activation=activation_of(hf_config.get("activation_function", "gelu"), _refuse),
                gated=False,
                bias=True,
            ),
            embedding=EmbeddingStyle(
                scaled=hf_config.get("scale_embedding", False),
                normed=kind == "bart",
                output_bias=True,
            ),
            dropout=Dropout(
                hidden=hf_config.get("dropout", 0.1),
                attention=hf_config.get("attention_dropout", 0.0),
                activation=hf_config.get("activation_dropout", 0.0),
            ),
        )


def is_bart(config: ModelConfig) -> bool:
    """Whether BartConfig or MarianConfig can say this config: whether it comes back as it was."""
    return comes_back(config, _described, config_from_bart)


def check_bart_shapes(hf_config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare the tensors that files state, under their names, with those of their config.

    Raises FormatError for one that is missing, unknown or of another shape. Nothing is read yet.
    """
    config = config_from_bart(hf_config)
    found = _whole(shapes, (1, config.vocab_size))
    if found[_BIAS][:1] == (1,):
        found[_BIAS] = found[_BIAS][1:]
    for name in _learned(config) & found.keys():
        rows, *columns = found[name] or (0,)
        found[name] = (rows - _UNREAD_ROWS, *columns)
    check_stated(config, found, bart_names, _refuse, _spare(config))


def bart_names(config: ModelConfig) -> dict[str, str]:
    """Our name of each tensor of the config, with theirs."""
    names = {"embedding.weight": _EMBEDDING, "head_bias": _BIAS}
    for side, num_layers in (
        ("encoder", config.num_encoder_layers),
        ("decoder", config.num_layers),
    ):
        block = _BLOCK_NAMES | (_CROSS_NAMES if side == "decoder" else {})
        pairs = {
            f"blocks.{layer}.{ours}": f"layers.{layer}.{theirs}"
            for layer in range(num_layers)
            for ours, theirs in block.items()
        }
        if config.embedding.normed:
            pairs["embedding_norm"] = "layernorm_embedding"
        for ours, theirs in pairs.items():
            for kind in ("weight", "bias"):
                names[f"{side}.{ours}.{kind}"] = f"{_BODY}{side}.{theirs}.{kind}"
        if config.positions.kind == "learned":
            names[f"{side}.positions.weight"] = f"{_BODY}{side}.embed_positions.weight"
    return names


def _described(config: ModelConfig) -> dict[str, Any]:
    """Our config in the fields of either's config; what these cannot say is not in them.

    Special tokens are the tokenizer's: whoever writes a folder adds them.
    """
    marian = config.positions.kind == "sinusoidal"
    return {
        "architectures": ["MarianMTModel" if marian else "BartForConditionalGeneration"],
        "model_type": "marian" if marian else "bart",
        "is_encoder_decoder": True,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.context_tokens,
        "d_model": config.width,
        "encoder_layers": config.num_encoder_layers,
        "decoder_layers": config.num_layers,
        "encoder_attention_heads": config.num_heads,
        "decoder_attention_heads": config.num_heads,
        "encoder_ffn_dim": config.ffn_width,
        "decoder_ffn_dim": config.ffn_width,
        "activation_function": ACTIVATION_NAMES[config.feedforward.activation],
        "scale_embedding": config.embedding.scaled,
        "dropout": config.dropout.hidden,
        "attention_dropout": config.dropout.attention,
        "activation_dropout": config.dropout.activation,
        "tie_word_embeddings": True,
        "use_cache": True,
        "dtype": "float32",
        **dict.fromkeys(_SPECIAL_TOKENS),  # none; their defaults are another vocabulary's
    }


def _of_both_sides(hf_config: Mapping[str, Any], name: str) -> Any:
    """A number that encoder and decoder each have, and that must be the same."""
    encoders, decoders = hf_config[f"encoder_{name}"], hf_config[f"decoder_{name}"]
    if encoders != decoders:
        raise _refuse(f"encoder_{name} {encoders}, decoder_{name} {decoders}", "the same for both")
    return encoders


def _whole(found: Mapping[str, FoundT], no_bias: FoundT) -> dict[str, FoundT]:
    """What a file holds as if it were of a whole model: a body's names, a bias of zeros."""
    prefix = _BODY if _EMBEDDING.removeprefix(_BODY) in found else ""
    return {_BIAS: no_bias} | {prefix + name: one for name, one in found.items()}


def _learned(config: ModelConfig) -> set[str]:
    return set(_POSITIONS) if config.positions.kind == "learned" else set()


def _check_sines(config: ModelConfig, tensors: Mapping[str, Tensor]) -> None:
    """Old files store the sines and cosines, which follow from the config."""
    stored = [tensors[name] for name in _POSITIONS if name in tensors]
    shape = (config.context_tokens, config.width)
    for table in stored:
        if tuple(table.shape) != shape:
            raise _refuse(f"positions of shape {list(table.shape)}", f"{list(shape)}")
        wanted = sinusoidal_table(*shape, interleaved=False)
        if (table.float() - wanted).abs().max() > _SINES_TOLERANCE:
            raise _refuse("positions of its own", "sines, then cosines")


def _spare(config: ModelConfig) -> Spare:
    """Each side and the scores may repeat the embedding; sines follow from the config."""
    computed = () if config.positions.kind == "learned" else _POSITIONS
    return Spare(computed, dict.fromkeys(_COPIES, _EMBEDDING))


def _refuse(given: str, expected: str) -> FormatError:
    return FormatError(f"a BART or Marian with {given}", expected, "use a plain model of either")
