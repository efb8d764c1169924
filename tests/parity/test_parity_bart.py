"""Our encoder-decoder beside transformers' BART and Marian: the independent references."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from reference_models import assert_same_gradients, assert_same_tensors, fill_reference, spread
from reference_translators import (
    Reference,
    assert_returns,
    assert_same_dropout,
    assert_same_logits,
    assert_same_targets,
    slopes,
    translator,
)
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BartModel,
    MarianConfig,
    MarianMTModel,
)

from noria.bases.huggingface import read_huggingface
from noria.errors import FormatError, UsageError
from noria.model.config import ModelConfig
from noria.model.historical import MARIAN
from noria.model.layouts.bart import bart_names, check_bart_shapes, from_bart, is_bart, to_bart
from noria.model.layouts.catalogue import layout_for
from noria.model.positions import sinusoidal_table
from noria.model.presets import preset
from noria.model.shapes import tensor_shapes
from noria.model.styles import Dropout, EmbeddingStyle, FeedForwardStyle, Norm, Positions
from noria.model.transformer import EncoderDecoder

torch.set_num_threads(1)
CONFIG = replace(
    MARIAN,
    vocab_size=130,
    context_tokens=40,
    num_layers=2,
    num_encoder_layers=3,
    width=24,
    num_heads=4,
    num_kv_heads=4,
    ffn_width=40,
)
BART = replace(
    CONFIG,
    num_encoder_layers=1,
    num_heads=3,
    num_kv_heads=3,
    positions=Positions(kind="learned"),
    feedforward=FeedForwardStyle(activation="gelu", gated=False, bias=True),
    embedding=EmbeddingStyle(normed=True, output_bias=True),
    dropout=Dropout(hidden=0.1, attention=0.2, activation=0.3),
)
RELU = FeedForwardStyle(activation="relu", gated=False, bias=True)
CONFIGS = {
    "marian": CONFIG,
    "marian-unscaled": replace(
        CONFIG, feedforward=RELU, embedding=EmbeddingStyle(output_bias=True)
    ),
    "bart": BART,
    "bart-scaled": replace(
        BART, num_layers=3, feedforward=RELU, embedding=replace(BART.embedding, scaled=True)
    ),
}
CLASSES = {
    "marian": (MarianConfig, MarianMTModel),
    "bart": (BartConfig, BartForConditionalGeneration),
}
TABLES = ("model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight")
COPIES = (
    "model.encoder.embed_tokens.weight",
    "model.decoder.embed_tokens.weight",
    "lm_head.weight",
)


def reference(ours: EncoderDecoder) -> Reference:
    hf_config, tensors = to_bart(ours.config, ours.state_dict())
    config_class, model_class = CLASSES[hf_config["model_type"]]
    learned = ours.config.positions.kind == "learned"
    tied = COPIES if learned else COPIES + TABLES
    return fill_reference(model_class(config_class(**hf_config)), tensors, tied)


@pytest.fixture(params=CONFIGS)
def pair(request: pytest.FixtureRequest) -> tuple[EncoderDecoder, Reference]:
    ours = spread(translator(CONFIGS[request.param]))
    if ours.config.embedding.scaled:  # fresh matrices are large already: more is float32's noise
        for block in (*ours.encoder.blocks, *ours.decoder.blocks):
            for parameter in block.parameters():
                parameter.data /= 4 if parameter.ndim == 2 else 1
    return ours, reference(ours)


@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
def test_logits_equal_those_of_transformers_with_cache_and_without(
    pair: tuple[EncoderDecoder, Reference], padded: bool
) -> None:
    assert_same_logits(*pair, padded=padded)


@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
def test_gradients_equal_those_of_transformers(
    pair: tuple[EncoderDecoder, Reference], padded: bool
) -> None:
    ours, theirs = pair
    theirs.final_logits_bias.requires_grad_()  # which they do not train, as it is a buffer
    _, found = to_bart(ours.config, slopes(ours, theirs, padded=padded))
    by_bias = found.pop("final_logits_bias")
    assert by_bias.abs().max() > 1e-3
    assert (by_bias - theirs.final_logits_bias.grad).abs().max() <= 1e-4
    assert_same_gradients(found, theirs, always_zero=("k_proj.bias",))


def test_targets_alone_and_in_the_engine_equal_those_of_transformers(
    pair: tuple[EncoderDecoder, Reference],
) -> None:
    assert_same_targets(*pair)


def test_dropout_falls_where_it_does_in_transformers(
    pair: tuple[EncoderDecoder, Reference],
) -> None:
    assert_same_dropout(*pair)


def of_transformers(kind: str, **fields: Any) -> Reference:
    shape = {"vocab_size": 90, "d_model": 20, "max_position_embeddings": 32, "pad_token_id": 1}
    sides: dict[str, Any] = {}
    for side, num_layers in (("encoder", 1), ("decoder", 2)):
        sides[f"{side}_layers"] = num_layers
        sides[f"{side}_attention_heads"], sides[f"{side}_ffn_dim"] = 5, 28
    config_class, model_class = CLASSES[kind]
    torch.manual_seed(4)
    config = config_class(**shape, **sides, decoder_start_token_id=1, **fields)
    theirs = spread(model_class(config)).eval()
    theirs.final_logits_bias.normal_()
    return theirs


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("marian", {"activation_function": "swish", "scale_embedding": True}),
        ("marian", {"dropout": 0.3, "attention_dropout": 0.2, "activation_dropout": 0.1}),
        ("bart", {}),
        ("bart", {"activation_function": "gelu_new", "scale_embedding": True}),
    ],
)
def test_a_model_made_by_transformers_imports_and_returns_unchanged(
    kind: str, fields: dict[str, Any], tmp_path: Path
) -> None:
    theirs = of_transformers(kind, **fields)
    if kind == "marian":  # `spread` has changed what no training would
        for table in (theirs.get_encoder().embed_positions, theirs.get_decoder().embed_positions):
            table.weight.data = table.create_weight()
    tensors = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    if kind == "bart":  # all that we change: rows that no token reads
        for name in TABLES:
            assert tensors[name][:2].abs().min() > 0
            tensors[name][:2] = 0
    repeated = COPIES if kind == "bart" else COPIES + TABLES
    assert_returns(theirs.config.to_dict(), tensors, lambda name: name in repeated)
    theirs.save_pretrained(tmp_path)
    ours = read_huggingface(tmp_path)
    assert isinstance(ours, EncoderDecoder)
    assert_same_logits(ours, theirs, padded=True)


def test_bits_and_config_come_back_from_their_layout(
    pair: tuple[EncoderDecoder, Reference],
) -> None:
    ours, _ = pair
    hf_config, tensors = to_bart(ours.config, ours.state_dict())
    check_bart_shapes(hf_config, {name: tuple(one.shape) for name, one in tensors.items()})
    config, found = from_bart(hf_config, tensors)
    assert config == ours.config
    assert_same_tensors(found, ours.state_dict())
    assert layout_for(config).write(config, found)[0] == hf_config


def test_a_body_without_a_bias_of_scores_has_one_of_zeros(tmp_path: Path) -> None:
    theirs = of_transformers("bart")
    theirs.final_logits_bias.zero_()
    body = BartModel(theirs.config)
    body.load_state_dict(theirs.model.state_dict())
    body.save_pretrained(tmp_path)
    ours = read_huggingface(tmp_path)
    assert isinstance(ours, EncoderDecoder)
    assert_same_logits(ours, theirs, padded=False)


HF_CONFIG, TENSORS = to_bart(BART, translator(BART).state_dict())
HF_MARIAN, OF_MARIAN = to_bart(CONFIG, translator(CONFIG).state_dict())


def test_stored_sines_are_ignored_and_other_positions_are_refused() -> None:
    sines = sinusoidal_table(40, 24, interleaved=False)
    for stored in (sines, sines.half(), sines.bfloat16()):
        config, _ = from_bart(HF_MARIAN, OF_MARIAN | {TABLES[0]: stored})
        assert config == CONFIG
    for stored in (sinusoidal_table(40, 24), torch.zeros(40, 24), sines[:30]):
        with pytest.raises(FormatError, match="positions"):
            from_bart(HF_MARIAN, OF_MARIAN | {TABLES[1]: stored})


@pytest.mark.parametrize(
    "fields",
    [
        {"model_type": "mbart"},
        {"model_type": ["bart"]},
        {"normalize_before": True},
        {"normalize_embedding": False},
        {"static_position_embeddings": True},
        {"add_final_layer_norm": True},
        {"tie_word_embeddings": False},
        {"share_encoder_decoder_embeddings": False},
        {"decoder_vocab_size": 131},
        {"encoder_layerdrop": 0.1},
        {"decoder_ffn_dim": 41},
        {"decoder_attention_heads": 4},
        {"activation_function": "tanh"},
        {"scale_embedding": "yes"},
        {"max_position_embeddings": 39},
        {"encoder_layers": None},
    ],
    ids=str,
)
def test_what_we_would_compute_differently_is_refused(fields: dict[str, Any]) -> None:
    from_bart(HF_CONFIG, TENSORS)
    with pytest.raises(FormatError):
        from_bart(HF_CONFIG | fields, TENSORS)


def test_stated_shapes_are_refused_before_anything_is_read() -> None:
    shapes: dict[str, tuple[int, ...]] = {
        name: tuple(tensor.shape) for name, tensor in TENSORS.items()
    }
    check_bart_shapes(HF_CONFIG, shapes | {"lm_head.weight": (130, 24)})
    del shapes["final_logits_bias"]
    check_bart_shapes(HF_CONFIG, shapes)
    for wrong in (
        {"model.shared.weight": (131, 24)},
        {"final_logits_bias": (130, 1)},
        {"final_logits_bias": (131,)},
        {TABLES[0]: (40, 24)},
        {TABLES[1]: ()},
        {"model.decoder.extra": (1,)},
    ):
        with pytest.raises(FormatError):
            check_bart_shapes(HF_CONFIG, shapes | wrong)


def test_a_copy_of_the_embedding_that_differs_is_refused() -> None:
    for name in COPIES:
        from_bart(HF_CONFIG, TENSORS | {name: TENSORS["model.shared.weight"].clone()})
        with pytest.raises(FormatError, match=name):
            from_bart(HF_CONFIG, TENSORS | {name: torch.ones(130, 24)})


@pytest.mark.parametrize(
    "config",
    [
        preset("seq2seq-1m", 130, 64),
        preset("t5-small", 130, 64),
        preset("transformer-2017", 130, 64),
        replace(CONFIG, positions=Positions(kind="sinusoidal")),
        replace(CONFIG, norm=Norm(kind="layer", place="after", epsilon=1e-6)),
        replace(CONFIG, embedding=EmbeddingStyle(scaled=True)),
        replace(CONFIG, tied=False),
        replace(BART, embedding=EmbeddingStyle(output_bias=True)),
        replace(BART, dropout=Dropout(output=0.1)),
    ],
    ids=["llama", "t5", "2017", "turns", "epsilon", "no-bias", "untied", "no-norm", "dropout"],
)
def test_a_model_that_neither_can_say_is_refused(config: ModelConfig) -> None:
    assert is_bart(CONFIG)
    assert is_bart(BART)
    assert not is_bart(config)
    with pytest.raises(UsageError, match="BART or Marian"):
        to_bart(config, {})


def test_every_tensor_of_a_config_has_one_name_of_theirs() -> None:
    for config in CONFIGS.values():
        names = bart_names(config)
        assert names.keys() == tensor_shapes(config).keys()
        assert len(set(names.values())) == len(names)


def test_a_tensor_that_a_file_does_not_hold_is_named() -> None:
    kept = {name: tensor for name, tensor in TENSORS.items() if "fc2.bias" not in name}
    with pytest.raises(FormatError, match=r"fc2\.bias"):
        from_bart(HF_CONFIG, kept)
