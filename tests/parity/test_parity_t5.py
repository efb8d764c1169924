"""Our encoder-decoder beside transformers' T5: the independent reference."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from reference_models import (
    assert_near,
    assert_same_gradients,
    assert_same_tensors,
    fill_reference,
    spread,
)
from reference_translators import (
    assert_returns,
    assert_same_dropout,
    assert_same_logits,
    assert_same_targets,
    logits,
    reference_logits,
    slopes,
    some_batch,
    translator,
)
from safetensors.torch import save_file
from transformers import T5Config, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Attention

from noria.bases.huggingface import read_huggingface
from noria.errors import FormatError, UsageError
from noria.model.config import ModelConfig
from noria.model.historical import T5_SMALL
from noria.model.layouts.catalogue import layout_for
from noria.model.layouts.t5 import check_t5_shapes, from_t5, is_t5, t5_names, to_t5
from noria.model.presets import preset
from noria.model.relative import relative_buckets
from noria.model.styles import EmbeddingStyle, FeedForwardStyle, Norm, Positions
from noria.model.transformer import EncoderDecoder, empty_model, fill_model

torch.set_num_threads(1)
CONFIG = replace(
    T5_SMALL,
    vocab_size=130,
    num_layers=2,
    num_encoder_layers=3,
    width=24,
    num_heads=4,
    num_kv_heads=4,
    ffn_width=40,
)
UNSCALED = EmbeddingStyle(output_scaled=False)
CONFIGS = {
    "1.0": CONFIG,
    "1.1": replace(
        CONFIG,
        tied=False,
        num_layers=3,
        num_encoder_layers=1,
        num_heads=3,
        num_kv_heads=3,
        own_head_width=10,
        feedforward=FeedForwardStyle(activation="gelu-tanh"),
        embedding=UNSCALED,
    ),
    "few-buckets": replace(
        CONFIG,
        positions=Positions(kind="relative", buckets=9, distance_tokens=12),
        norm=Norm(epsilon=1e-3),
        feedforward=FeedForwardStyle(activation="gelu", gated=False),
    ),
    "unscaled-tied": replace(CONFIG, embedding=UNSCALED, feedforward=FeedForwardStyle()),
}


def larger(model: EncoderDecoder) -> EncoderDecoder:
    """Scores that 1 / sqrt(C) does not make too even to compare."""
    spread(model).embedding.weight.data *= 4
    return model


def reference(ours: EncoderDecoder) -> T5ForConditionalGeneration:
    hf_config, tensors = to_t5(ours.config, ours.state_dict())
    theirs = T5ForConditionalGeneration(T5Config(**hf_config))
    if not ours.config.tied:  # transformers ties every T5 that it builds, not every one it loads
        theirs.lm_head.weight = torch.nn.Parameter(tensors["lm_head.weight"].clone())
        theirs.load_state_dict(tensors, strict=False)
        return theirs.eval()
    copies = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
    return fill_reference(theirs, tensors, copies)


@pytest.fixture(params=CONFIGS)
def pair(request: pytest.FixtureRequest) -> tuple[EncoderDecoder, T5ForConditionalGeneration]:
    ours = larger(translator(CONFIGS[request.param]))
    return ours, reference(ours)


@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
def test_logits_equal_those_of_transformers_with_cache_and_without(
    pair: tuple[EncoderDecoder, T5ForConditionalGeneration], padded: bool
) -> None:
    assert_same_logits(*pair, padded=padded)


@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
def test_gradients_equal_those_of_transformers(
    pair: tuple[EncoderDecoder, T5ForConditionalGeneration], padded: bool
) -> None:
    ours, theirs = pair
    names = t5_names(ours.config)
    found = {names[name]: slope for name, slope in slopes(ours, theirs, padded=padded).items()}
    assert_same_gradients(found, theirs)


def test_targets_alone_and_in_the_engine_equal_those_of_transformers(
    pair: tuple[EncoderDecoder, T5ForConditionalGeneration],
) -> None:
    assert_same_targets(*pair)


def test_dropout_falls_where_it_does_in_transformers(
    pair: tuple[EncoderDecoder, T5ForConditionalGeneration],
) -> None:
    assert_same_dropout(*pair)


def of_transformers(**fields: Any) -> T5ForConditionalGeneration:
    shape = {"vocab_size": 90, "d_model": 20, "d_kv": 6, "d_ff": 28, "num_heads": 3}
    torch.manual_seed(4)
    return T5ForConditionalGeneration(T5Config(**(shape | fields), num_layers=2)).eval()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"num_decoder_layers": 1, "d_kv": 5, "num_heads": 4, "dropout_rate": 0.0},
        {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
        {"feed_forward_proj": "gated-silu", "relative_attention_num_buckets": 6},
    ],
    ids=["1.0", "uneven", "1.1-tied", "1.0-gated"],
)
def test_a_model_made_by_transformers_imports_and_returns_unchanged(
    fields: dict[str, Any], tmp_path: Path
) -> None:
    theirs = of_transformers(**fields)
    theirs.shared.weight.data *= 0.3
    hf_config, tensors = theirs.config.to_dict(), theirs.state_dict()
    written_again = theirs.config.scale_decoder_outputs is False
    assert_returns(
        hf_config,
        tensors,
        lambda name: "embed_tokens" in name or (name == "lm_head.weight" and not written_again),
    )
    theirs.save_pretrained(tmp_path)
    ours = read_huggingface(tmp_path)
    assert isinstance(ours, EncoderDecoder)
    assert_same_logits(ours, theirs, padded=True)


@pytest.mark.parametrize("name", ["1.1", "unscaled-tied"])
def test_transformers_loads_our_files_and_saves_what_we_read_unchanged(
    name: str, tmp_path: Path
) -> None:
    ours = larger(translator(CONFIGS[name]))
    hf_config, tensors = to_t5(ours.config, ours.state_dict())
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text(json.dumps(hf_config))
    theirs = T5ForConditionalGeneration.from_pretrained(tmp_path, local_files_only=True)
    batch = some_batch(ours.config.vocab_size, padded=False)
    with torch.no_grad():
        assert_near(logits(ours, batch), reference_logits(theirs, batch))
    theirs.save_pretrained(tmp_path / "again")
    again = read_huggingface(tmp_path / "again")
    assert again.config == ours.config
    assert_same_tensors(again.state_dict(), ours.state_dict())


def test_bits_and_config_come_back_from_their_layout(
    pair: tuple[EncoderDecoder, T5ForConditionalGeneration],
) -> None:
    ours, _ = pair
    hf_config, tensors = to_t5(ours.config, ours.state_dict())
    check_t5_shapes(hf_config, {name: tuple(one.shape) for name, one in tensors.items()})
    config, found = from_t5(hf_config, tensors)
    assert config == ours.config
    assert_same_tensors(found, ours.state_dict())
    assert layout_for(config).write(config, found)[0] == hf_config


@pytest.mark.parametrize(
    ("buckets", "distance_tokens"), [(32, 128), (9, 12), (6, 20), (64, 50), (51, 256)]
)
@pytest.mark.parametrize("causal", [True, False])
def test_buckets_of_distances_equal_those_of_transformers(
    buckets: int, distance_tokens: int, causal: bool
) -> None:
    distances = torch.arange(-300, 301)
    positions = Positions(kind="relative", buckets=buckets, distance_tokens=distance_tokens)
    wanted = T5Attention._relative_position_bucket(
        distances, bidirectional=not causal, num_buckets=buckets, max_distance=distance_tokens
    )
    assert torch.equal(relative_buckets(distances, positions, causal=causal), wanted)


def test_a_t5_reads_more_tokens_than_its_training_did_when_the_config_allows_it() -> None:
    theirs = of_transformers()
    config, tensors = from_t5(theirs.config.to_dict(), theirs.state_dict())
    assert config.context_tokens == 512
    ours = fill_model(empty_model(replace(config, context_tokens=700)), tensors).eval()
    ids = torch.arange(600)[None] % 90
    with torch.no_grad():
        wanted = theirs.get_encoder()(ids).last_hidden_state
        assert_near(ours.encode(ids), wanted)


HF_CONFIG, TENSORS = to_t5(CONFIG, translator(CONFIG).state_dict())


@pytest.mark.parametrize(
    "fields",
    [
        {"model_type": "umt5"},
        {"is_encoder_decoder": False},
        {"feed_forward_proj": "gated-relu-x"},
        {"feed_forward_proj": "tanh"},
        {"feed_forward_proj": 3},
        {"feed_forward_proj": "gated-gelu", "dense_act_fn": "gelu"},
        {"is_gated_act": True},
        {"tie_word_embeddings": False, "scale_decoder_outputs": True},
        {"quantization_config": {"bits": 4}},
        {"d_model": None},
        {"num_heads": 0},
        {"relative_attention_num_buckets": 2},
        {"dropout_rate": 1.0},
        {"dropout_rate": "much"},
    ],
    ids=str,
)
def test_what_we_would_compute_differently_is_refused(fields: dict[str, Any]) -> None:
    from_t5(HF_CONFIG, TENSORS)
    with pytest.raises(FormatError):
        from_t5(HF_CONFIG | fields, TENSORS)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("lm_head.weight", torch.ones(130, 24)),  # scaled scores of a matrix of their own
        ("decoder.embed_tokens.weight", torch.ones(130, 24)),
        ("encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight", torch.ones(32, 4)),
        ("shared.weight", torch.ones(129, 24)),
    ],
)
def test_tensors_that_are_not_those_of_the_config_are_refused(
    name: str, tensor: torch.Tensor
) -> None:
    with pytest.raises(FormatError):
        from_t5(HF_CONFIG, TENSORS | {name: tensor})


def test_stated_shapes_are_refused_before_anything_is_read() -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in TENSORS.items()}
    check_t5_shapes(HF_CONFIG, shapes | {"lm_head.weight": (130, 24)})
    unread = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    check_t5_shapes(HF_CONFIG, shapes | {unread: (32, 4)})
    for wrong in ({"shared.weight": (131, 24)}, {"decoder.extra": (1,)}):
        with pytest.raises(FormatError):
            check_t5_shapes(HF_CONFIG, shapes | wrong)


@pytest.mark.parametrize(
    "config",
    [
        preset("seq2seq-1m", 130, 64),
        preset("gpt2", 130, 64),
        replace(CONFIG, tied=False),
        replace(CONFIG, num_kv_heads=2),
        replace(CONFIG, dropout=replace(CONFIG.dropout, output=0.0)),
        replace(CONFIG, feedforward=FeedForwardStyle(activation="gelu")),
        replace(CONFIG, attention=replace(CONFIG.attention, bias=True)),
    ],
    ids=["seq2seq", "gpt2", "scaled-untied", "grouped", "dropout", "exact-gelu", "biases"],
)
def test_a_model_that_t5_cannot_say_is_refused(config: ModelConfig) -> None:
    assert is_t5(CONFIG)
    assert not is_t5(config)
    with pytest.raises(UsageError, match="T5"):
        to_t5(config, {})
