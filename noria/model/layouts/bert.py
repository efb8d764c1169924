"""The layout of BERT in Hugging Face's files (Devlin et al. 2018): a body, and maybe a head.

In: our config, head and tensors, or theirs. Out: the other's. Only names change. What is in their
files and not in ours: the pooler where no classifier reads it, and the next-sentence classifier,
for they belong to a task of pretraining that we do not have. Whatever we would compute differently
(relative positions, decoders) is refused. This module does not know files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor

from noria.errors import UsageError
from noria.model.config import ModelConfig
from noria.model.heads import HeadConfig
from noria.model.layouts.bert_heads import (
    described_head,
    head_from_bert,
    head_shapes,
    names_in_head,
    refuse_bert,
)
from noria.model.layouts.renaming import (
    ACTIVATION_NAMES,
    Parts,
    Spare,
    activation_of,
    check_stated,
    comes_back,
    expect_values,
    reading_fields,
    renamed,
    tensors_to_ours,
    turned,
    without_spare,
)
from noria.model.layouts.shapes import compare_shapes, expect_semantics
from noria.model.styles import (
    AttentionStyle,
    Dropout,
    EmbeddingStyle,
    FeedForwardStyle,
    Norm,
    Positions,
)

# our name in a block: their name in a layer, each with a weight and a bias
_BLOCK_NAMES = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "feedforward.up": "intermediate.dense",
    "feedforward.down": "output.dense",
    "feedforward_norm": "output.LayerNorm",
}
_OTHER_NAMES = {
    "embedding.weight": "embeddings.word_embeddings.weight",
    "segments.weight": "embeddings.token_type_embeddings.weight",
    "positions.weight": "embeddings.position_embeddings.weight",
    "embedding_norm.weight": "embeddings.LayerNorm.weight",
    "embedding_norm.bias": "embeddings.LayerNorm.bias",
}
_BODY = "bert."  # what a body is called inside a model with a head
_BESIDE_BODY = ("cls.", "classifier.", "qa_outputs.")  # the pooler is part of the body
_OLD_ENDINGS = {".gamma": ".weight", ".beta": ".bias"}  # of norms, in files of 2018
_POOLER = ("pooler.dense.weight", "pooler.dense.bias")
_NEXT_SENTENCE = ("cls.seq_relationship.weight", "cls.seq_relationship.bias")
EntryT = TypeVar("EntryT")
COMPUTED = ("embeddings.position_ids",)  # 0, 1, 2, … in old files
_ALLOWED: dict[str, tuple[Any, ...]] = {
    "model_type": ("bert",),
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "quantization_config": (None,),
}


def to_bert(
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    head: HeadConfig | None = None,
    head_tensors: Mapping[str, Tensor] | None = None,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Our config and float tensors, and maybe a head's, as config.json and tensors of a BERT.

    Raises UsageError for a model or head whose semantics are not BERT's, FormatError if the
    tensors are not those of the config.
    """
    expect_semantics(config, "BERT", is_bert(config))
    hf_config = _described(config)
    written = renamed(tensors, bert_names(config), refuse_bert)
    if head is None:
        return hf_config, written
    hf_config |= described_head(head)
    if head_from_bert(hf_config) != head:
        raise UsageError(
            f"a head of kind {head.kind!r} with its own styles, to be written as a BERT's",
            "a head with BERT's semantics",
            "write the body alone",
        )
    written |= renamed(head_tensors or {}, names_in_head(head), refuse_bert)
    return hf_config, {
        name if name.startswith(_BESIDE_BODY) else _BODY + name: tensor
        for name, tensor in written.items()
    }


def from_bert(hf_config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Parts:
    """A BERT's config.json and tensors as ours, in float32: a body, and the head if it has one.

    Raises FormatError for a value or tensor that we would compute differently or not at all.
    """
    config, head = config_from_bert(hf_config), head_from_bert(hf_config)
    spare, head_names = _spare(head), turned(names_in_head(head))
    kept = without_spare(_plainly_named(tensors), spare)
    body, beside = _divided(kept, head_names)
    found = renamed(beside, head_names, refuse_bert)
    shapes = {name: tuple(tensor.shape) for name, tensor in found.items()}
    ours = tensors_to_ours(config, body, bert_names, refuse_bert, spare)
    compare_shapes(head_shapes(config, head), shapes)
    floats = {name: one.to(torch.float32).contiguous() for name, one in found.items()}
    return Parts(config, ours, head, floats)


def config_from_bert(hf_config: Mapping[str, Any]) -> ModelConfig:
    """A BERT's config.json as our config of its body.

    Raises FormatError for a value that is missing or that we would compute differently.
    """
    expect_values(hf_config, _ALLOWED, refuse_bert)
    with reading_fields(refuse_bert, "the fields of BertConfig"):
        num_heads = hf_config["num_attention_heads"]
        num_segments = hf_config.get("type_vocab_size", 2)
        if num_segments == 0:
            raise refuse_bert("type_vocab_size = 0", "1 or more kinds of segments")
        return ModelConfig(
            family="encoder",
            vocab_size=hf_config["vocab_size"],
            context_tokens=hf_config["max_position_embeddings"],
            num_layers=hf_config["num_hidden_layers"],
            width=hf_config["hidden_size"],
            num_heads=num_heads,
            num_kv_heads=num_heads,
            ffn_width=hf_config["intermediate_size"],
            positions=Positions(kind="learned"),
            norm=Norm(kind="layer", place="after", epsilon=hf_config.get("layer_norm_eps", 1e-12)),
            attention=AttentionStyle(bias=True),
            feedforward=FeedForwardStyle(
                activation=activation_of(hf_config.get("hidden_act", "gelu"), refuse_bert),
                gated=False,
                bias=True,
            ),
            embedding=EmbeddingStyle(num_segments=num_segments, normed=True),
            dropout=Dropout(
                hidden=hf_config.get("hidden_dropout_prob", 0.1),
                attention=hf_config.get("attention_probs_dropout_prob", 0.1),
            ),
        )


def is_bert(config: ModelConfig) -> bool:
    """Whether BertConfig can say this config: whether it comes back as it was."""
    return comes_back(config, _described, config_from_bert)


def check_bert_shapes(hf_config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare the tensors that files state, under their names, with those of their config.

    Raises FormatError for one that is missing, unknown or of another shape. Nothing is read yet.
    """
    config, head = config_from_bert(hf_config), head_from_bert(hf_config)
    head_names = turned(names_in_head(head))
    body, beside = _divided(_plainly_named(shapes), head_names)
    check_stated(config, body, bert_names, refuse_bert, _spare(head))
    compare_shapes(
        head_shapes(config, head), {head_names[name]: shape for name, shape in beside.items()}
    )


def bert_names(config: ModelConfig) -> dict[str, str]:
    """Our name of each tensor of the body, with theirs as BertModel has it."""
    names = dict(_OTHER_NAMES)
    for layer in range(config.num_layers):
        for ours, theirs in _BLOCK_NAMES.items():
            for kind in ("weight", "bias"):
                names[f"blocks.{layer}.{ours}.{kind}"] = f"encoder.layer.{layer}.{theirs}.{kind}"
    return names


def _described(config: ModelConfig) -> dict[str, Any]:
    """Our config in the fields of BertConfig; what these cannot say is not in them."""
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.context_tokens,
        "num_hidden_layers": config.num_layers,
        "hidden_size": config.width,
        "num_attention_heads": config.num_heads,
        "intermediate_size": config.ffn_width,
        "hidden_act": ACTIVATION_NAMES[config.feedforward.activation],
        "layer_norm_eps": config.norm.epsilon,
        "type_vocab_size": config.embedding.num_segments,
        "hidden_dropout_prob": config.dropout.hidden,
        "attention_probs_dropout_prob": config.dropout.attention,
        "tie_word_embeddings": True,
        "pad_token_id": None,  # which would keep that token's vector from being trained
        "dtype": "float32",
    }


def _plainly_named(found: Mapping[str, EntryT]) -> dict[str, EntryT]:
    """Names as BertModel's own file has them, and norms called as they are since 2019.

    Raises FormatError if two tensors come to the same name.
    """
    plain: dict[str, EntryT] = {}
    for name, entry in found.items():
        short = name.removeprefix(_BODY)
        for old, new in _OLD_ENDINGS.items():
            if short.endswith("LayerNorm" + old):
                short = short.removesuffix(old) + new
        if short in plain:
            raise refuse_bert(f"tensor {short} under two names", "each tensor once")
        plain[short] = entry
    return plain


def _divided(
    found: Mapping[str, EntryT], head_names: Mapping[str, str]
) -> tuple[dict[str, EntryT], dict[str, EntryT]]:
    """What is of the body, and what is of the head."""
    body = {name: entry for name, entry in found.items() if name not in head_names}
    return body, {name: entry for name, entry in found.items() if name in head_names}


def _spare(head: HeadConfig | None) -> Spare:
    """What a file has beside body and head: see this module's first lines."""
    if head is None or head.kind != "masked":
        pooled = head is not None and head.kind == "sequence"
        return Spare(COMPUTED if pooled else COMPUTED + _POOLER)
    copies = {
        "cls.predictions.decoder.weight": _OTHER_NAMES["embedding.weight"],
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }
    return Spare(COMPUTED + _POOLER + _NEXT_SENTENCE, copies)
