import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from noria.compress.quantize import quantize_model
from noria.errors import FormatError, InputError
from noria.model.presets import preset
from noria.model.transformer import Decoder, build_decoder
from noria.model.weights import load_decoder, model_weight_hash, save_model, weight_hash


@pytest.fixture
def model() -> Decoder:
    return build_decoder(preset("decoder-1m", 400, 32), 1)


@pytest.mark.parametrize("quantized", [False, True])
def test_a_saved_model_loads_with_the_same_weights_and_logits(
    model: Decoder, tmp_path: Path, quantized: bool
) -> None:
    model = quantize_model(model) if quantized else model
    save_model(tmp_path, model)
    loaded = load_decoder(tmp_path)
    ids = torch.arange(30)[None]
    assert model_weight_hash(loaded) == model_weight_hash(model)
    assert loaded.quantization == model.quantization
    assert torch.equal(loaded.logits(loaded(ids)), model.logits(model(ids)))


def test_a_model_saved_twice_has_the_same_bytes(model: Decoder, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_model(tmp_path / name, model)
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_loaded_model_can_be_trained(model: Decoder, tmp_path: Path) -> None:
    save_model(tmp_path, model)
    loaded = load_decoder(tmp_path)
    loaded(torch.arange(5)[None]).sum().backward()
    assert all(p.grad is not None for p in loaded.parameters())


def test_a_loaded_model_does_not_change_with_its_file(model: Decoder, tmp_path: Path) -> None:
    save_model(tmp_path, model)
    loaded = load_decoder(tmp_path)
    before = model_weight_hash(loaded)
    path = tmp_path / "model.safetensors"
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(bytes(4000))
    assert model_weight_hash(loaded) == before
    assert model_weight_hash(load_decoder(tmp_path)) != before


def test_weight_hash_knows_names_types_shapes_and_every_bit() -> None:
    one = torch.arange(6.0)
    hashes = {
        weight_hash({"a": one}),
        weight_hash({"b": one}),
        weight_hash({"a": one.view(2, 3)}),
        weight_hash({"a": one.view(torch.int32)}),
        weight_hash({"a": one.double()}),
        weight_hash({"a": one + torch.tensor([0.0, 0, 0, 0, 0, 5e-7])}),
        weight_hash({"a": one, "b": torch.zeros(0)}),
        weight_hash({"a": torch.tensor([-0.0, 1, 2, 3, 4, 5])}),
    }
    assert len(hashes) == 8
    turned = torch.arange(6.0).view(2, 3).T
    assert weight_hash({"x": turned, "y": one}) == weight_hash({"y": one, "x": turned.contiguous()})


def test_weight_hash_is_the_documented_one() -> None:
    import hashlib
    import struct

    raw = b"w\0F32\0" + b"2,1\0" + struct.pack("<2f", 1.5, -2.0)
    found = weight_hash({"w": torch.tensor([[1.5], [-2.0]])})
    assert found == hashlib.sha256(raw).hexdigest()


def test_weights_of_another_shape_are_refused_by_name(model: Decoder, tmp_path: Path) -> None:
    save_model(tmp_path, model)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"ffn_width": 128}))
    with pytest.raises(FormatError, match=r"blocks\.0\.feedforward\.down"):
        load_decoder(tmp_path)


def test_a_missing_and_an_unknown_tensor_are_refused(model: Decoder, tmp_path: Path) -> None:
    save_model(tmp_path, model)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    save_file({k: v for k, v in tensors.items() if k != "final_norm.weight"}, path)
    with pytest.raises(FormatError, match=r"final_norm\.weight is absent"):
        load_decoder(tmp_path)
    save_file(tensors | {"zeal": torch.ones(1)}, path)
    with pytest.raises(FormatError, match="zeal is F32"):
        load_decoder(tmp_path)


def test_a_torn_weight_file_is_refused(model: Decoder, tmp_path: Path) -> None:
    save_model(tmp_path, model)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(FormatError):
        load_decoder(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"quantization": "int3"}', "[" * 200_000])
def test_a_broken_config_is_refused(model: Decoder, tmp_path: Path, text: str) -> None:
    save_model(tmp_path, model)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(FormatError):
        load_decoder(tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json does not exist"):
        load_decoder(tmp_path)
