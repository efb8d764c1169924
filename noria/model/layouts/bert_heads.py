"""The heads of BERT in Hugging Face's files: which one a config names, and what it is made of.

In: our head or a config.json. Out: the other. This module does not know files, nor the body.
Legend: C width, N classes, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from noria.errors import FormatError
from noria.model.config import ModelConfig
from noria.model.heads import HeadConfig
from noria.model.layouts.renaming import expect_values, reading_fields
from noria.model.shapes import Shape

# kind of head: our name of each of its tensors, and theirs. A pooled classifier has the pooler.
_NAMES = {
    "masked": {
        "layer.weight": "cls.predictions.transform.dense.weight",
        "layer.bias": "cls.predictions.transform.dense.bias",
        "norm.weight": "cls.predictions.transform.LayerNorm.weight",
        "norm.bias": "cls.predictions.transform.LayerNorm.bias",
        "bias": "cls.predictions.bias",
    },
    "sequence": {
        "layer.weight": "pooler.dense.weight",
        "layer.bias": "pooler.dense.bias",
        "classes.weight": "classifier.weight",
        "classes.bias": "classifier.bias",
    },
    "token": {"classes.weight": "classifier.weight", "classes.bias": "classifier.bias"},
    "span": {"ends.weight": "qa_outputs.weight", "ends.bias": "qa_outputs.bias"},
}
# what a config.json calls the whole model: its head
_ARCHITECTURES = {
    "BertModel": None,
    "BertForMaskedLM": "masked",
    "BertForPreTraining": "masked",
    "BertForSequenceClassification": "sequence",
    "BertForTokenClassification": "token",
    "BertForQuestionAnswering": "span",
}


def names_in_head(head: HeadConfig | None) -> dict[str, str]:
    """Our name of each tensor of the head, with theirs."""
    return {} if head is None else _NAMES[head.kind]


def head_from_bert(hf_config: Mapping[str, Any]) -> HeadConfig | None:
    """The head that a config.json names by its architecture; none if it names none.

    Raises FormatError for an architecture that we do not know, or values that make no head.
    """
    architectures = hf_config.get("architectures") or ["BertModel"]
    if architectures not in [[name] for name in _ARCHITECTURES]:
        raise refuse_bert(f"architectures = {architectures!r}", " or ".join(_ARCHITECTURES))
    kind = _ARCHITECTURES[architectures[0]]
    if kind is None:
        return None
    if kind == "masked":
        expect_values(hf_config, {"tie_word_embeddings": (True,)}, refuse_bert)
    if kind in ("masked", "span"):
        return HeadConfig(kind)
    with reading_fields(refuse_bert, "the fields of BertConfig"):
        dropout, labels = hf_config.get("classifier_dropout"), hf_config.get("id2label")
        return HeadConfig(
            kind,
            num_classes=hf_config.get("num_labels", 2) if labels is None else len(labels),
            pooling="first" if kind == "sequence" else "mean",
            pooled_layer=kind == "sequence",
            dropout=hf_config.get("hidden_dropout_prob", 0.1) if dropout is None else dropout,
        )


def described_head(head: HeadConfig) -> dict[str, Any]:
    """What a head adds to its body's config.json; one that BERT lacks adds nothing."""
    names = {kind: name for name, kind in reversed(_ARCHITECTURES.items())}
    if head.kind not in names:
        return {}
    described: dict[str, Any] = {"architectures": [names[head.kind]]}
    if head.num_classes:
        labels = [f"LABEL_{number}" for number in range(head.num_classes)]
        described["id2label"] = {str(number): label for number, label in enumerate(labels)}
        described["label2id"] = {label: number for number, label in enumerate(labels)}
        described["classifier_dropout"] = head.dropout
    return described


def head_shapes(config: ModelConfig, head: HeadConfig | None) -> dict[str, Shape]:
    """Our name and the shape of each tensor of the head."""
    width = config.width
    sizes: dict[str, Shape] = {
        "layer.weight": (width, width),
        "layer.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
        "bias": (config.vocab_size,),
        "ends.weight": (2, width),
        "ends.bias": (2,),
    }
    if head is not None:
        sizes |= {"classes.weight": (head.num_classes, width), "classes.bias": (head.num_classes,)}
    return {name: sizes[name] for name in names_in_head(head)}


def refuse_bert(given: str, expected: str) -> FormatError:
    """The error for a BERT that we would compute differently."""
    return FormatError(f"a BERT with {given}", expected, "use a plain BERT model")
