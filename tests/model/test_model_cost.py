"""Costs that are known before a model is built, against the built model, torch's counter and the
resident memory of a process that trains."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from noria.errors import UsageError
from noria.model import cost
from noria.model.adapted import TARGETS
from noria.model.adapters import add_adapter
from noria.model.cache import KVCache
from noria.model.config import FAMILIES, ModelConfig
from noria.model.cost import BatchShape
from noria.model.historical import HISTORICAL
from noria.model.likelihood import cross_entropy_sum
from noria.model.masks import Rows
from noria.model.presets import preset
from noria.model.quantized import to_int8
from noria.model.styles import (
    ACTIVATIONS,
    NORM_KINDS,
    NORM_PLACES,
    POSITION_KINDS,
    AttentionStyle,
    Dropout,
    EmbeddingStyle,
    FeedForwardStyle,
    Norm,
    Positions,
)
from noria.model.transformer import (
    Encoder,
    EncoderDecoder,
    Transformer,
    build_decoder,
    build_model,
    empty_model,
)
from noria.train.optim import build_optimizer

torch.set_num_threads(1)
PEAK_SCRIPT = Path(__file__).with_name("training_peak.py")
RATES = st.sampled_from([0.0, 0.1])


@st.composite
def configs(draw: st.DrawFn, vocab_size: int = 200) -> ModelConfig:
    """Models of every family and style, wide enough that single numbers do not matter."""
    family = draw(st.sampled_from(FAMILIES))
    bias = draw(st.booleans())
    return ModelConfig(
        vocab_size=vocab_size,
        context_tokens=64,
        num_layers=draw(st.integers(1, 2)),
        width=draw(st.sampled_from([96, 128])),
        num_heads=4,
        num_kv_heads=draw(st.sampled_from([1, 2, 4])),
        ffn_width=draw(st.sampled_from([160, 384])),
        tied=draw(st.booleans()),
        own_head_width=draw(st.sampled_from([0, 32])),
        family=family,
        num_encoder_layers=draw(st.integers(1, 2)) if family == "encoder-decoder" else 0,
        positions=Positions(kind=draw(st.sampled_from(POSITION_KINDS))),
        norm=Norm(draw(st.sampled_from(NORM_KINDS)), draw(st.sampled_from(NORM_PLACES))),
        attention=AttentionStyle(
            bias=bias,
            query_key_norm=draw(st.booleans()),
            window_tokens=draw(st.sampled_from([0, 24])),
        ),
        feedforward=FeedForwardStyle(
            draw(st.sampled_from(ACTIVATIONS)), draw(st.booleans()), bias=bias
        ),
        embedding=EmbeddingStyle(
            scaled=draw(st.booleans()),
            num_segments=2 if family == "encoder" else 0,
            normed=draw(st.booleans()),
            output_bias=draw(st.booleans()),
        ),
        dropout=Dropout(draw(RATES), draw(RATES), draw(RATES), draw(RATES)),
    )


def hidden_of(model: Transformer, batch: BatchShape) -> torch.Tensor:
    ids = torch.zeros(batch.num_rows, batch.num_tokens, dtype=torch.int64)
    real = torch.ones_like(ids, dtype=torch.bool) if batch.padded else None
    if not isinstance(model, EncoderDecoder):
        return model(ids, rows=Rows(real=real))
    source_ids = torch.zeros(batch.num_rows, batch.num_source_tokens, dtype=torch.int64)
    source_real = torch.ones_like(source_ids, dtype=torch.bool) if batch.padded else None
    memory = model.encode(source_ids, Rows(real=source_real))
    return model.decode(ids, memory, source_real, rows=Rows(real=real))


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("gpt2", 124_439_808),
        ("bert-base", 109_482_240 - 768 * 769),  # its pooler is a head
        ("t5-small", 60_506_624),
        ("llama-7b", 6_738_415_616),
    ],
)
def test_parameters_of_published_models_are_as_published(name: str, published: int) -> None:
    assert cost.num_parameters(HISTORICAL[name]) == published


@settings(max_examples=40, deadline=None)
@given(configs())
def test_parameters_are_counted_as_torch_counts_them(config: ModelConfig) -> None:
    with_torch = sum(parameter.numel() for parameter in empty_model(config).parameters())
    assert cost.num_parameters(config) == with_torch


@settings(max_examples=15, deadline=None)
@given(configs(), st.integers(8, 48), st.integers(8, 48))
def test_flops_are_those_that_torch_counts(config: ModelConfig, new: int, source: int) -> None:
    config = replace(config, dropout=Dropout())
    model = build_model(config, 1)
    batch = BatchShape(1, new, source)
    # torch does not count its own fused attention on a CPU, so it computes with plain products,
    # of every query with every key: those that are not read come on top of ours.
    found = []
    for backward in (False, True):
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            hidden = hidden_of(model, batch)
            if isinstance(model, Encoder):
                loss = hidden.sum()
            elif backward:
                targets = torch.zeros(1, new, dtype=torch.int64)
                loss, _ = cross_entropy_sum(model, hidden, targets, torch.ones(1, new))
            else:
                loss = model.logits(hidden)
            if backward:
                loss.backward()
        found.append(counter.get_total_flops())
    unread = config.num_layers * unread_pairs(config, new, causal=config.family != "encoder")
    if config.family == "encoder-decoder":
        unread += config.num_encoder_layers * unread_pairs(config, source, causal=False)
    unread *= 4 * config.query_width
    assert found[0] == cost.forward_flops(config, new, source) + unread
    assert found[1] == cost.training_flops(config, new, source) + 3 * unread


def unread_pairs(config: ModelConfig, num_tokens: int, *, causal: bool) -> int:
    window = config.attention.window_tokens or num_tokens
    return sum(
        abs(query - key) >= window or (causal and key > query)
        for query in range(num_tokens)
        for key in range(num_tokens)
    )


def test_a_token_costs_its_share_of_a_full_context() -> None:
    config = preset("decoder-5m", 4096, 256)
    assert cost.flops_per_token(config) == cost.forward_flops(config, 256) // 256
    assert cost.flops_per_token(config, 64) < cost.flops_per_token(config)


@settings(max_examples=15, deadline=None)
@given(configs(), st.sampled_from(["float32", "bfloat16", "float16", "int8"]))
def test_weight_bytes_are_those_of_the_weights(config: ModelConfig, number_type: str) -> None:
    model = build_model(config, 1)
    model = to_int8(model) if number_type == "int8" else model.to(getattr(torch, number_type))
    stored = sum(one.numel() * one.element_size() for one in model.state_dict().values())
    assert cost.weight_bytes(config, number_type) == stored


def test_unknown_number_types_and_optimizers_are_refused() -> None:
    config = preset("decoder-1m", 512, 64)
    with pytest.raises(UsageError, match="float32"):
        cost.weight_bytes(config, "int3")
    with pytest.raises(UsageError, match="adamw"):
        cost.optimizer_bytes(config, "lion")


@pytest.mark.parametrize("name", cost.MOMENTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_optimizer_bytes_are_those_that_it_remembers(name: str, family: str) -> None:
    config = preset({"encoder-decoder": "seq2seq"}.get(family, family) + "-1m", 100, 64)
    model = build_model(replace(config, norm=Norm(kind="layer")), 1)
    optimizer = build_optimizer(model, name, 1e-3, 0.0)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    remembered = sum(
        value.numel() * value.element_size()
        for parameter in model.parameters()
        for value in optimizer.state_of(parameter).values()
        if value.ndim > 0  # the number of the step is not counted
    )
    assert cost.optimizer_bytes(model.config, name) == remembered


def test_an_adapter_has_the_parameters_that_were_counted_and_remembers_for_no_others() -> None:
    config = preset("decoder-1m", 512, 64)
    model = build_decoder(config, 1)
    add_adapter(model, "a", 4, 8.0, ["query", "down"], 1)
    num_trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    layers = [TARGETS["query"], TARGETS["down"]]
    assert cost.num_adapter_parameters(config, 4, layers) == num_trained
    assert cost.optimizer_bytes(config, "adamw", num_trained) == 8 * num_trained
    assert cost.optimizer_bytes(config, "muon", num_trained) == 4 * num_trained
    batch = BatchShape(2, 64)
    whole = cost.training_memory_bytes(config, batch)
    part = cost.training_memory_bytes(config, batch, num_trained_parameters=num_trained)
    frozen_bytes = 12 * (cost.num_parameters(config) - num_trained)
    assert frozen_bytes <= whole - part <= frozen_bytes + 8 * config.vocab_size * config.width


def test_cache_bytes_are_those_of_the_cache() -> None:
    config = replace(preset("decoder-1m", 512, 64), num_kv_heads=1)
    cache = KVCache(config, batch_size=3, capacity_tokens=7)
    stored = sum(part.numel() * part.element_size() for part in (cache._keys, cache._values))
    assert cost.kv_cache_bytes(config, num_tokens=7, batch_size=3) == stored
    halves = cost.kv_cache_bytes(config, num_tokens=7, batch_size=3, number_bytes=2)
    assert halves == stored // 2


def kept_bytes(config: ModelConfig, batch: BatchShape) -> int:
    """What autograd keeps of a batch, and the output, without what is the model's own."""
    model = build_model(config, 1).train()
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        keep(hidden_of(model, batch))
    for own in (*model.parameters(), *model.buffers()):
        kept.pop(own.untyped_storage().data_ptr(), None)
    return sum(storage.nbytes() for storage in kept.values())


@settings(max_examples=60, deadline=None)
@given(configs(), st.sampled_from([32, 64]), st.sampled_from([32, 48]), st.booleans())
def test_activations_are_what_autograd_keeps(
    config: ModelConfig, new: int, source: int, padded: bool
) -> None:
    batch = BatchShape(3, new, source, padded=padded)
    found = kept_bytes(config, batch)
    assert cost.activation_bytes(config, batch) == pytest.approx(found, rel=0.03)


@pytest.mark.parametrize("rate", [0.0, 0.1])
@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_each_feedforward_keeps_what_autograd_keeps(
    activation: str, gated: bool, rate: float
) -> None:
    style = FeedForwardStyle(activation, gated)
    config = replace(preset("encoder-1m", 50, 64), num_layers=1, ffn_width=512, feedforward=style)
    config, batch = replace(config, dropout=Dropout(activation=rate)), BatchShape(2, 32)
    assert cost.activation_bytes(config, batch) == pytest.approx(kept_bytes(config, batch), 0.01)


@pytest.fixture(scope="module")
def peaks() -> dict[str, dict[str, int]]:
    """Bytes, measured and predicted, of the models of the script."""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, str(PEAK_SCRIPT)]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=True, env=environment
    )
    found: dict[str, dict[str, int]] = json.loads(run.stdout)
    return found


@pytest.mark.parametrize(
    "name", ["decoder-activations", "decoder-weights", "encoder", "encoder-decoder"]
)
def test_peak_memory_of_training_is_predicted(name: str, peaks: dict[str, dict[str, int]]) -> None:
    peak = peaks[name]
    assert peak["measured"] > 300e6, peak
    assert peak["predicted"] == pytest.approx(peak["measured"], rel=0.15), peak
