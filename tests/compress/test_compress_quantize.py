from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from noria.compress.quantize import quantize_model
from noria.errors import FormatError, UsageError
from noria.model import quantized
from noria.model.cache import KVCache
from noria.model.config import ModelConfig
from noria.model.likelihood import cross_entropy_sum
from noria.model.presets import preset
from noria.model.quantized import (
    Int8Linear,
    joined,
    num_product_groups,
    quantize_rows,
    to_int8,
)
from noria.model.transformer import Decoder, build_decoder
from noria.model.weights import load_decoder, model_weight_hash, save_model
from noria.runtime import has_fast_int8

torch.set_num_threads(1)


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def model(request: pytest.FixtureRequest) -> Decoder:
    return build_decoder(replace(preset("decoder-1m", 600, 64), tied=request.param), 1).eval()


def test_rounding_errs_by_half_a_scale_at_most() -> None:
    weight = torch.randn(40, 30, generator=torch.Generator().manual_seed(1))
    weight[3] = 0
    weight[4] *= 1e-20
    integers, scale = quantize_rows(weight)
    assert integers.dtype == torch.int8
    assert int(integers.min()) >= -127
    assert integers.abs().amax(1).tolist() == [127] * 3 + [0] + [127] * 36
    error = (integers * scale[:, None] - weight).abs()
    assert (error <= 0.5001 * scale[:, None]).all()


def test_int8_layer_is_the_product_with_its_dequantized_weights() -> None:
    linear = torch.nn.Linear(24, 10, bias=False)
    layer = Int8Linear(linear)
    x = torch.randn(3, 5, 24)
    wanted = F.linear(x, layer.weight.float() * layer.scale[:, None])
    assert torch.allclose(layer(x), wanted, atol=1e-5)


@pytest.mark.parametrize("num_groups", [1, 4])
@pytest.mark.parametrize("is_fast", [True, False])
def test_inputs_are_rounded_by_half_a_step_at_most(
    num_groups: int, is_fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_fast and not has_fast_int8():
        pytest.skip("this processor does not multiply integers fast")
    monkeypatch.setattr(quantized, "has_fast_int8", lambda: is_fast)
    layer = Int8Linear(torch.nn.Linear(24, 10), num_groups)
    x = torch.randn(3, 5, 24, generator=torch.Generator().manual_seed(1))
    x[0, 0, 0] = 100.0  # spoils its own group and no other
    x[1, 1] = 7.0  # has no spread
    grouped = x.view(3, 5, num_groups, -1)
    step = (grouped.amax(-1) - grouped.amin(-1)) / 255  # (3, 5, G)
    spread = (layer.weight.float() * layer.scale[:, None]).abs().view(10, num_groups, -1).sum(-1)
    with torch.no_grad():
        found = layer(x)
        error = (found - F.linear(x, layer.floats(), layer.bias)).abs()  # (3, 5, 10)
        monkeypatch.undo()
        assert torch.allclose(layer(x), found, rtol=1e-4, atol=1e-4)
    assert (error <= step @ spread.t() * 0.501 + 1e-4).all()
    assert error.max() > 0


def test_a_token_is_rounded_by_itself() -> None:
    layer = Int8Linear(torch.nn.Linear(48, 30), 2)
    x = torch.randn(70, 48)
    x[3] *= 1e4
    with torch.no_grad():
        assert all(torch.equal(layer(x)[row], layer(x[row : row + 1])[0]) for row in (0, 3, 69))
        assert layer(x[:0]).shape == (0, 30)
        x[5, 5] = float("nan")
        assert layer(x).isnan().any(1).nonzero().flatten().tolist() == [5]


def test_an_int8_layer_follows_its_weights() -> None:
    layer = Int8Linear(torch.nn.Linear(24, 10), 1)
    x = torch.randn(3, 24)
    with torch.no_grad():
        before = layer(x)
        layer.weight = -layer.weight
        assert torch.allclose(layer(x) - layer.bias, layer.bias - before, atol=1e-5)


def test_only_what_reads_products_has_groups() -> None:
    model = build_decoder(ModelConfig(600, 64, 1, 576, 9, 3, 1536), 1)
    block = to_int8(model, "int8-dynamic").blocks[0]
    assert block.feedforward.down.product.num_groups == 4
    assert block.feedforward.up.product.num_groups == block.attention.query.product.num_groups == 1
    assert [num_product_groups(one) for one in (64, 384, 385, 1536, 1543)] == [1, 1, 1, 4, 1]


def test_joined_layers_say_what_each_says_and_take_no_room() -> None:
    layers = [Int8Linear(torch.nn.Linear(24, rows), 2) for rows in (10, 4)]
    x = torch.randn(3, 24)
    with torch.no_grad():
        wanted = torch.cat([one(x) for one in layers], dim=-1)
        whole = joined(layers)
        assert torch.equal(whole(x), wanted)
        assert torch.equal(torch.cat([one(x) for one in layers], dim=-1), wanted)
    at = whole.weight.untyped_storage().data_ptr()
    assert [one.weight.untyped_storage().data_ptr() for one in layers] == [at, at]


def test_quantized_logits_stay_near(model: Decoder) -> None:
    small = quantize_model(model)
    ids = torch.randint(0, 600, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted, found = model.logits(model(ids)), small.logits(small(ids))
    assert 0 < (wanted - found).abs().max() < 0.03 * wanted.abs().max()
    assert F.cosine_similarity(wanted.flatten(), found.flatten(), dim=0) > 0.999


def test_quantizing_leaves_the_original_alone(model: Decoder) -> None:
    before = model_weight_hash(model)
    small = quantize_model(model)
    assert model_weight_hash(model) == before
    assert model_weight_hash(small) != before
    assert model.quantization is None
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(parameter.requires_grad for parameter in small.parameters())


def test_a_quantized_folder_is_about_a_quarter_of_the_bytes(model: Decoder, tmp_path: Path) -> None:
    for name, one in (("full", model), ("small", quantize_model(model))):
        save_model(tmp_path / name, one)
    sizes = [(tmp_path / n / "model.safetensors").stat().st_size for n in ("small", "full")]
    assert 0.25 < sizes[0] / sizes[1] < 0.29


def test_quantized_cached_logits_equal_uncached(model: Decoder) -> None:
    small = quantize_model(model)
    ids = torch.arange(20)[None]
    cache = KVCache(small.config, 1, 20)
    with torch.no_grad():
        whole = small.logits(small(ids))
        parts = [small.logits(small(part, cache)) for part in ids.split([6, 1, 13], 1)]
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-5)


def test_quantized_loss_is_that_of_its_logits(model: Decoder) -> None:
    small = quantize_model(model)
    ids = torch.arange(41)[None]
    hidden = small(ids[:, :-1])
    total, num_tokens = cross_entropy_sum(small, hidden, ids[:, 1:], torch.ones(1, 40))
    wanted = F.cross_entropy(small.logits(hidden)[0], ids[0, 1:], reduction="sum")
    assert int(num_tokens) == 40
    assert torch.allclose(total, wanted, rtol=1e-5)


def test_a_quantized_model_is_not_quantized_again(model: Decoder) -> None:
    with pytest.raises(UsageError, match="int8 already"):
        quantize_model(quantize_model(model))


def test_int8_weights_under_a_float_config_are_refused(model: Decoder, tmp_path: Path) -> None:
    save_model(tmp_path, quantize_model(model))
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"int8"', "null"))
    with pytest.raises(FormatError, match=r"as config\.json says"):
        load_decoder(tmp_path)


def test_a_dynamic_model_keeps_its_name_and_is_trained_in_floats(
    model: Decoder, tmp_path: Path
) -> None:
    dynamic = quantize_model(model, "int8-dynamic")
    save_model(tmp_path, dynamic)
    again = load_decoder(tmp_path)
    assert again.quantization == "int8-dynamic"
    ids = torch.arange(40)[None]
    with torch.no_grad():
        found, wanted = dynamic.logits(dynamic(ids)), model.logits(model(ids))
        assert torch.equal(again.logits(again(ids)), found)
        plain = quantize_model(model)
        rounded = plain.logits(plain(ids))
    assert 0 < (found - rounded).abs().max() < 0.05 * wanted.abs().max()
    layer = dynamic.blocks[0].attention.query
    hidden = torch.randn(1, 3, layer.weight.shape[1], requires_grad=True)
    layer(hidden).sum().backward()
    assert torch.allclose(hidden.grad, layer.floats().sum(0).expand_as(hidden), atol=1e-4)
