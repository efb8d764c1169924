"""What the layouts of GPT-2 and BERT refuse: models that we would compute differently, and files
that do not hold what their config says."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from reference_models import fresh_bert, fresh_gpt2
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    PreTrainedModel,
)

from noria.bases.huggingface import read_huggingface
from noria.bases.importing import import_base
from noria.errors import FormatError, UsageError
from noria.model.heads import HeadConfig
from noria.model.historical import BERT_BASE, GPT2
from noria.model.layouts.bert import from_bert, to_bert
from noria.model.layouts.catalogue import LAYOUTS
from noria.model.styles import (
    AttentionStyle,
    Dropout,
    EmbeddingStyle,
    FeedForwardStyle,
    Norm,
    Positions,
)

torch.set_num_threads(1)
VOCAB_SIZE = 150
OTHER_ARITHMETIC = {
    "gpt2": [
        {"model_type": "gpt_neo"},
        {"activation_function": "tanh"},
        {"activation_function": ["gelu_new"]},
        {"scale_attn_by_inverse_layer_idx": True},
        {"reorder_and_upcast_attn": True},
        {"add_cross_attention": True},
        {"embd_pdrop": 0.3},
        {"n_embd": None},
        {"n_layer": "2"},
        {"n_head": 5},
        {"scale_attn_weights": None},
        {"layer_norm_epsilon": "small"},
        {"attn_pdrop": 2.0},
        {"quantization_config": {"bits": 4}},
    ],
    "bert": [
        {"model_type": "roberta"},
        {"architectures": ["BertForMultipleChoice"]},
        {"architectures": "BertForTokenClassification"},
        {"architectures": ["BertModel"]},
        {"hidden_act": "tanh"},
        {"position_embedding_type": "relative_key"},
        {"is_decoder": True},
        {"add_cross_attention": True},
        {"type_vocab_size": 0},
        {"hidden_size": None},
        {"num_hidden_layers": "2"},
        {"num_attention_heads": 5},
        {"id2label": 3},
        {"classifier_dropout": "much"},
        {"quantization_config": {"bits": 4}},
    ],
}
LIES = {
    "gpt2": [
        {"n_layer": 10**12},
        {"n_layer": 3},
        {"n_positions": 47},
        {"n_embd": 10**30},
        {"n_embd": 16},
        {"n_inner": 127},
        {"vocab_size": VOCAB_SIZE + 1},
        {"tie_word_embeddings": False},
        {"model_type": ["gpt2"]},
        {"model_type": None},
    ],
    "bert": [
        {"num_hidden_layers": 10**12},
        {"num_hidden_layers": 3},
        {"max_position_embeddings": 10**12},
        {"hidden_size": 10**30},
        {"type_vocab_size": 3},
        {"vocab_size": VOCAB_SIZE + 1},
        {"id2label": {"0": "a", "1": "b", "2": "c"}},
        {"id2label": None, "num_labels": 10**12},
    ],
}
OTHER_TENSORS = {
    "gpt2": [
        ("transformer.h.0.attn.c_attn.weight", torch.ones(96, 32)),
        ("transformer.h.0.attn.c_attn.weight", torch.ones(32, 97)),
        ("transformer.h.0.attn.c_attn.bias", torch.ones(())),
        ("transformer.h.0.mlp.c_fc.weight", torch.ones(128)),
        ("transformer.h.0.attn.c_attn:query.weight", torch.ones(32, 32)),
        ("transformer.h.2.ln_1.weight", torch.ones(32)),
        ("transformer.wte.weight", torch.ones(VOCAB_SIZE, 32, dtype=torch.int32)),
        ("lm_head.weight", torch.ones(VOCAB_SIZE, 32)),
    ],
    "bert": [
        ("bert.encoder.layer.0.output.dense.weight", torch.ones(64, 32)),
        ("bert.encoder.layer.2.output.dense.weight", torch.ones(32, 64)),
        ("bert.embeddings.LayerNorm.gamma", torch.ones(32)),
        ("embeddings.LayerNorm.weight", torch.ones(32)),
        ("classifier.weight", torch.ones(3, 32)),
        ("bert.pooler.dense.bias", torch.ones(31)),
        ("cls.predictions.bias", torch.ones(VOCAB_SIZE)),
        ("classifier.bias", torch.ones(2, dtype=torch.int32)),
    ],
}


def cases(table: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    return [(family, one) for family, many in table.items() for one in many]


def fresh(family: str) -> PreTrainedModel:
    if family == "gpt2":
        return fresh_gpt2(VOCAB_SIZE)
    return fresh_bert(BertForSequenceClassification, VOCAB_SIZE)


def described(model: PreTrainedModel) -> dict[str, Any]:
    """Its config.json, as it would be saved."""
    return model.config.to_dict() | {"architectures": [type(model).__name__]}


@pytest.mark.parametrize(("family", "changes"), cases(OTHER_ARITHMETIC))
def test_what_we_would_compute_differently_is_refused(family: str, changes: dict[str, Any]) -> None:
    theirs, layout = fresh(family), LAYOUTS[family]
    layout.read(described(theirs), theirs.state_dict())
    with pytest.raises(FormatError):
        layout.read(described(theirs) | changes, theirs.state_dict())


@pytest.mark.parametrize(("family", "given"), cases(OTHER_TENSORS))
def test_tensors_that_are_not_the_configs_are_refused(
    family: str, given: tuple[str, Tensor], tmp_path: Path
) -> None:
    name, tensor = given
    theirs = fresh(family)
    with pytest.raises(FormatError):
        LAYOUTS[family].read(described(theirs), theirs.state_dict() | {name: tensor})
    theirs.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    save_file(load_file(path) | {name: tensor}, path)
    with pytest.raises(FormatError):
        read_huggingface(tmp_path)


@pytest.mark.parametrize(("family", "changes"), cases(LIES))
def test_a_config_that_lies_is_refused_before_any_weight_is_read(
    family: str, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("weights were read")

    fresh(family).save_pretrained(tmp_path)
    monkeypatch.setattr("noria.bases.huggingface.load_file", never)
    value = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(value | changes))
    with pytest.raises(FormatError):
        read_huggingface(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"positions": Positions()},
        {"norm": Norm()},
        {"norm": Norm(kind="layer", place="after")},
        {"attention": AttentionStyle()},
        {"attention": AttentionStyle(bias=True, window_tokens=8)},
        {"feedforward": FeedForwardStyle(bias=True)},
        {"dropout": Dropout(output=0.1)},
        {"num_kv_heads": 2},
        {"own_head_width": 16},
        {"num_heads": 5, "num_kv_heads": 5, "own_head_width": 8},
    ],
)
def test_a_decoder_with_other_semantics_is_not_written_as_gpt2(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="GPT-2"):
        LAYOUTS["gpt2"].write(replace(GPT2, **changes), {})


@pytest.mark.parametrize(
    "changes",
    [
        {"family": "decoder", "embedding": EmbeddingStyle(normed=True)},
        {"positions": Positions(kind="sinusoidal")},
        {"norm": Norm(kind="layer")},
        {"attention": AttentionStyle(bias=True, scaled=False)},
        {"feedforward": FeedForwardStyle(bias=True)},
        {"embedding": EmbeddingStyle(normed=True)},
        {"embedding": EmbeddingStyle(num_segments=2)},
        {"dropout": Dropout(activation=0.1)},
    ],
)
def test_an_encoder_with_other_semantics_is_not_written_as_bert(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="BERT"):
        LAYOUTS["bert"].write(replace(BERT_BASE, **changes), {})


@pytest.mark.parametrize(
    "head",
    [
        HeadConfig("vector"),
        HeadConfig("sequence", 3),
        HeadConfig("sequence", 3, pooling="last", pooled_layer=True),
    ],
)
def test_a_head_that_bert_lacks_is_not_written(head: HeadConfig) -> None:
    theirs = fresh_bert(BertModel, VOCAB_SIZE)
    parts = from_bert(described(theirs), theirs.state_dict())
    with pytest.raises(UsageError, match="head"):
        to_bert(parts.config, parts.tensors, head)


def test_an_output_matrix_of_its_own_is_refused() -> None:
    theirs = fresh_bert(BertForMaskedLM, VOCAB_SIZE, tie_word_embeddings=False)
    with pytest.raises(FormatError, match="tie_word_embeddings"):
        from_bert(described(theirs), theirs.state_dict())


def test_an_encoder_is_no_base_to_train_on(tmp_path: Path) -> None:
    fresh("bert").save_pretrained(tmp_path / "bert")
    with pytest.raises(FormatError, match="bert, a model of family 'encoder'; expected a decoder"):
        import_base(tmp_path / "bert", tmp_path / "out")
    assert not (tmp_path / "out").exists()
