from dataclasses import replace

import pytest
import torch

from noria.errors import FormatError, UnknownName, UsageError
from noria.model.config import ModelConfig
from noria.model.cost import flops_per_token, kv_cache_bytes, num_parameters, training_memory_bytes
from noria.model.presets import preset
from noria.model.transformer import Decoder

SMALL = ModelConfig(
    vocab_size=300,
    context_tokens=32,
    num_layers=2,
    width=32,
    num_heads=4,
    num_kv_heads=2,
    ffn_width=64,
)


def on_meta(config: ModelConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in Decoder(config).parameters())


@pytest.mark.parametrize("name", ["1m", "2m", "5m", "10m", "37m", "100m", "300m", "999m", "1b"])
def test_preset_has_the_parameters_of_its_name(name: str) -> None:
    config = preset(f"decoder-{name}", 4096, 256)
    wanted = int(name[:-1]) * {"m": 10**6, "b": 10**9}[name[-1]]
    assert abs(on_meta(config) / wanted - 1) < 0.15
    assert on_meta(config) == num_parameters(config)


@pytest.mark.parametrize("millions", [1, 3, 7, 23, 64, 170, 511, 1500, 7000])
def test_any_whole_number_is_a_preset(millions: int) -> None:
    config = preset(f"decoder-{millions}m", 4096, 256)
    assert abs(num_parameters(config) / (millions * 1e6) - 1) < 0.15


def test_the_vocabulary_changes_the_embedding_and_nothing_else() -> None:
    small, large = preset("decoder-5m", 4096, 256), preset("decoder-5m", 65536, 256)
    assert replace(large, vocab_size=4096) == small
    assert num_parameters(large) - num_parameters(small) == (65536 - 4096) * small.width


@pytest.mark.parametrize("name", ["decoder-0m", "decoder-5", "encoder-5m", "decoder-999b", "5m"])
def test_unknown_presets_are_refused(name: str) -> None:
    with pytest.raises(UnknownName, match="decoder-1m"):
        preset(name, 4096, 256)


@pytest.mark.parametrize(
    "change",
    [
        {"vocab_size": 0},
        {"num_layers": True},
        {"width": 33},
        {"num_heads": 32},  # head width 1 is odd
        {"num_kv_heads": 3},
        {"rope_base": 0.0},
        {"norm_epsilon": float("nan")},
        {"tied": 1},
    ],
)
def test_impossible_models_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        replace(SMALL, **change)  # type: ignore[arg-type]


def test_config_json_reads_back() -> None:
    assert ModelConfig.from_json(SMALL.to_json()) == SMALL


@pytest.mark.parametrize(
    "change", [{"format": 2}, {"architecture": "encoder"}, {"colour": 1}, {"width": "32"}]
)
def test_other_config_json_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(FormatError):
        ModelConfig.from_json(SMALL.to_json() | change)


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_counted_as_torch_counts_them(tied: bool) -> None:
    config = replace(SMALL, tied=tied)
    assert num_parameters(config) == on_meta(config)


@pytest.mark.parametrize("tied", [True, False])
def test_flops_are_those_that_torch_counts(tied: bool) -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from noria.model.transformer import build_model

    config = replace(SMALL, tied=tied)
    model = build_model(config, 1)
    # torch does not count its own fused attention on a CPU, so it computes with plain products.
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        model.logits(model(torch.zeros(1, 32, dtype=torch.int64)))
    # torch counts every query with every key; a causal token reads half of them on average.
    unread = 4 * config.num_layers * config.width * 16
    assert counter.get_total_flops() / 32 == flops_per_token(config) + unread


def test_cache_bytes_are_those_of_the_cache() -> None:
    from noria.model.cache import KVCache

    cache = KVCache(SMALL, batch_size=3, capacity_tokens=7)
    stored = sum(part.numel() * part.element_size() for part in (cache._keys, cache._values))
    assert kv_cache_bytes(SMALL, num_tokens=7, batch_size=3) == stored


def test_training_memory_covers_what_autograd_keeps() -> None:
    from noria.model.likelihood import cross_entropy_sum
    from noria.model.transformer import build_model

    config = preset("decoder-1m", 512, 64)
    model = build_model(config, 1)
    ids = torch.zeros(4, 64, dtype=torch.int64)
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss, _ = cross_entropy_sum(model, model(ids), ids, torch.ones(4, 64))
    assert loss.item() > 0
    weights = 4 * num_parameters(config)
    estimate = training_memory_bytes(config, 256) - 4 * weights
    assert 0.7 < estimate / (sum(kept.values()) - weights) < 1.6
