from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from noria.compress.quantize import quantize_model
from noria.errors import FormatError, UsageError
from noria.model.cache import KVCache
from noria.model.likelihood import cross_entropy_sum
from noria.model.presets import preset
from noria.model.quantized import Int8Linear, quantize_rows
from noria.model.transformer import Decoder, build_decoder
from noria.model.weights import load_decoder, model_weight_hash, save_model

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
