from dataclasses import replace

import pytest
import torch

from noria.errors import FormatError, UnknownName, UsageError
from noria.model.config import ModelConfig
from noria.model.cost import num_parameters
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


@pytest.mark.parametrize("name", ["decoder-0m", "decoder-5", "coder-5m", "decoder-999b", "5m"])
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
        {"positions": 1},
        {"tied": None},
        {"tied": 1},
    ],
)
def test_impossible_models_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        replace(SMALL, **change)  # type: ignore[arg-type]


def test_config_json_reads_back() -> None:
    assert ModelConfig.from_json(SMALL.to_json()) == SMALL


@pytest.mark.parametrize(
    "change", [{"format": 3}, {"architecture": "encoder"}, {"colour": 1}, {"width": "32"}]
)
def test_other_config_json_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(FormatError):
        ModelConfig.from_json(SMALL.to_json() | change)
