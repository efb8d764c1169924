"""What holds for every encoder-decoder, and for the models of all families beside it."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_model_cost import configs
from torch import Tensor

from noria.errors import UsageError
from noria.model.cache import KVCache
from noria.model.config import ModelConfig
from noria.model.cost import num_parameters
from noria.model.headed import HeadedModel, build_headed_model
from noria.model.heads import HeadConfig, MaskedLanguageHead
from noria.model.historical import HISTORICAL
from noria.model.likelihood import cross_entropy_sum
from noria.model.masks import Rows
from noria.model.presets import preset
from noria.model.quantized import to_int8
from noria.model.shapes import tensor_shapes
from noria.model.styles import POSITION_KINDS, Positions
from noria.model.transformer import (
    EncoderDecoder,
    Transformer,
    build_model,
    empty_model,
)
from noria.model.weights import load_model, model_weight_hash, read_config, save_model

torch.set_num_threads(1)
VOCAB_SIZE = 200
SMALL = {
    "width": 128,
    "num_heads": 4,
    "num_kv_heads": 4,
    "ffn_width": 256,
    "num_layers": 4,
}
SPLITS = st.lists(st.integers(1, 12), min_size=1, max_size=5)


def as_encoder_decoder(config: ModelConfig) -> ModelConfig:
    return replace(
        config,
        family="encoder-decoder",
        num_encoder_layers=config.num_encoder_layers or 1,
        embedding=replace(config.embedding, num_segments=0),
    )


def translators() -> st.SearchStrategy[ModelConfig]:
    return configs(VOCAB_SIZE).map(as_encoder_decoder)


def small(name: str) -> ModelConfig:
    """A historical model or a dial's, narrow and shallow."""
    config = preset(name, VOCAB_SIZE, 64)
    if name in HISTORICAL:
        config = replace(config, **SMALL, own_head_width=0)
    return replace(config, num_encoder_layers=4 if config.num_encoder_layers else 0)


def lively(config: ModelConfig) -> EncoderDecoder:
    """Weights so large that what a token reads shows in what it says, and float64, in which that
    does not enlarge rounding to what could be a mistake."""
    model = build_model(config, 3).double().eval()
    assert isinstance(model, EncoderDecoder)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
            else:
                parameter *= 3
    return model


def some_ids(num_rows: int, num_tokens: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, VOCAB_SIZE, (num_rows, num_tokens), generator=generator)


def near(found: Tensor, wanted: Tensor) -> bool:
    return torch.allclose(found, wanted, rtol=0, atol=1e-8)


@pytest.mark.parametrize("kind", POSITION_KINDS)
@settings(max_examples=8, deadline=None)
@given(config=translators(), parts=SPLITS, padded=st.booleans())
def test_cached_logits_equal_uncached(
    kind: str, config: ModelConfig, parts: list[int], padded: bool
) -> None:
    model = lively(replace(config, positions=Positions(kind=kind)))
    source_ids, ids = some_ids(2, 30), some_ids(2, sum(parts), seed=2)
    source_real = torch.ones(2, 30, dtype=torch.bool)
    source_real[1, 17:] = not padded
    with torch.no_grad():
        memory = model.encode(source_ids, Rows(real=source_real))
        whole = model.logits(model.decode(ids, memory, source_real))
        cache = KVCache(model.config, 2, sum(parts), torch.float64)
        pieces = [
            model.logits(model.decode(part, memory, source_real, cache))
            for part in ids.split(parts, 1)
        ]
    assert cache.length == sum(parts)
    assert near(torch.cat(pieces, 1), whole)


@settings(max_examples=20, deadline=None)
@given(translators(), st.integers(1, 39))
def test_a_target_depends_on_its_source_and_on_no_later_token(config: ModelConfig, at: int) -> None:
    model = lively(config)
    source_ids, ids = some_ids(2, 12), some_ids(2, 40, seed=2)
    later, other = ids.clone(), source_ids.clone()
    later[:, at:] = (later[:, at:] + 1) % VOCAB_SIZE
    other[:, 5] = (other[:, 5] + 1) % VOCAB_SIZE
    with torch.no_grad():
        wanted, found, moved = model(source_ids, ids), model(source_ids, later), model(other, ids)
    assert near(found[:, :at], wanted[:, :at])
    assert (found[:, at] - wanted[:, at]).abs().max() > 1e-3
    assert (moved - wanted).abs().amax(dim=-1).min() > 1e-6


@pytest.mark.parametrize("kind", POSITION_KINDS)
@settings(max_examples=8, deadline=None)
@given(config=translators(), lengths=st.lists(st.integers(1, 30), min_size=2, max_size=4))
def test_padding_of_a_source_changes_nothing(
    kind: str, config: ModelConfig, lengths: list[int]
) -> None:
    model = lively(replace(config, positions=Positions(kind=kind)))
    source_ids, ids = some_ids(len(lengths), 30), some_ids(len(lengths), 11, seed=2)
    source_real = torch.arange(30) < torch.tensor(lengths)[:, None]
    with torch.no_grad():
        together = model(source_ids, ids, source_real)
        memory = model.encode(source_ids, Rows(real=source_real))
        for row, length in enumerate(lengths):
            alone = model.encode(source_ids[row : row + 1, :length])
            assert near(memory[row, :length], alone[0])
            assert near(together[row], model.decode(ids[row : row + 1], alone)[0])


@settings(max_examples=15, deadline=None)
@given(translators(), st.permutations(range(4)))
def test_the_order_of_a_batch_never_matters(config: ModelConfig, order: list[int]) -> None:
    model = lively(config)
    source_ids, ids = some_ids(4, 20), some_ids(4, 15, seed=2)
    source_real = torch.arange(20) < torch.tensor([[20], [3], [9], [14]])
    with torch.no_grad():
        wanted = model(source_ids, ids, source_real)
        found = model(source_ids[order], ids[order], source_real[order])
    assert near(found, wanted[order])


def test_a_long_source_and_a_long_target_are_refused() -> None:
    model = build_model(small("marian"), 1)
    assert isinstance(model, EncoderDecoder)
    with pytest.raises(UsageError, match="65 tokens"):
        model(some_ids(1, 65), some_ids(1, 2))
    with pytest.raises(UsageError, match="65 tokens"):
        model(some_ids(1, 2), some_ids(1, 65))


@pytest.mark.parametrize("name", HISTORICAL)
def test_tensors_of_historical_models_are_those_of_their_shapes(name: str) -> None:
    config = HISTORICAL[name]
    model = empty_model(config)
    assert shapes_of(model) == tensor_shapes(config)
    assert num_parameters(config) == sum(parameter.numel() for parameter in model.parameters())


@settings(max_examples=40, deadline=None)
@given(configs(VOCAB_SIZE))
def test_tensors_of_any_model_are_those_of_its_shapes(config: ModelConfig) -> None:
    assert shapes_of(empty_model(config)) == tensor_shapes(config)


def shapes_of(model: Transformer) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


FRESH = [*HISTORICAL, "decoder-1m", "encoder-1m", "seq2seq-1m"]


def fresh_loss(config: ModelConfig) -> tuple[Tensor, torch.nn.Module]:
    """The mean loss of even targets, and the model that has it: an encoder under its head."""
    ids = some_ids(4, 40)
    mask = torch.ones(4, 40)
    if config.family == "encoder":
        headed = build_headed_model(config, HeadConfig("masked"), 1).eval()
        assert isinstance(headed, HeadedModel) and isinstance(headed.head, MaskedLanguageHead)
        total, num_tokens = cross_entropy_sum(headed.head, headed.body(ids), ids.roll(-1, 1), mask)
        return total / num_tokens, headed
    model = build_model(config, 1).eval()
    hidden = model(some_ids(4, 40, seed=2), ids) if config.num_encoder_layers else model(ids)
    total, num_tokens = cross_entropy_sum(model, hidden, ids.roll(-1, 1), mask)
    return total / num_tokens, model


@pytest.mark.parametrize("name", FRESH)
def test_a_fresh_model_is_nearly_as_uncertain_as_its_vocabulary_is_large(name: str) -> None:
    loss, _ = fresh_loss(small(name))
    assert math.log(VOCAB_SIZE) - 0.1 < float(loss.detach()) < math.log(VOCAB_SIZE) + 0.6


@pytest.mark.parametrize("name", FRESH)
def test_every_weight_of_a_fresh_model_learns(name: str) -> None:
    loss, model = fresh_loss(small(name))
    loss.backward()
    for parameter_name, parameter in model.named_parameters():
        # A bias of all keys moves every score of a query alike, which no softmax sees.
        if not parameter_name.endswith("key.bias"):
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.abs().max() > 1e-7, parameter_name


def answers(model: Transformer) -> Tensor:
    ids = some_ids(3, 25)
    with torch.no_grad():
        if isinstance(model, EncoderDecoder):
            return model.logits(model(some_ids(3, 20, seed=2), ids))
        hidden = model(ids)
        return hidden if model.config.family == "encoder" else model.logits(hidden)


def noisy(config: ModelConfig) -> Transformer:
    """No bias is 0 and no norm is 1."""
    model = build_model(config, 1).eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.mark.parametrize("name", FRESH)
def test_a_saved_model_of_any_family_loads_bit_for_bit(name: str, tmp_path: Path) -> None:
    model = noisy(small(name))
    save_model(tmp_path, model)
    loaded = load_model(tmp_path)
    assert read_config(tmp_path) == (model.config, None)
    assert model_weight_hash(loaded) == model_weight_hash(model)
    assert torch.equal(answers(loaded), answers(model))


@pytest.mark.parametrize("name", FRESH)
def test_an_int8_model_of_any_family_stays_near_and_loads(name: str, tmp_path: Path) -> None:
    model = noisy(small(name))
    vectors = {key for key, tensor in model.state_dict().items() if tensor.ndim == 1}
    exact = answers(model)
    rounded = to_int8(model)
    found = answers(rounded)
    assert 0 < (found - exact).norm() / exact.norm() < 0.05
    kinds = {key: tensor.dtype for key, tensor in rounded.state_dict().items()}
    floats = {key for key, kind in kinds.items() if kind != torch.int8}
    scales = {key for key in kinds if key.endswith(".scale")}
    assert floats - scales - {key for key in kinds if "relative" in key} == vectors
    save_model(tmp_path, rounded)
    assert torch.equal(answers(load_model(tmp_path)), found)
