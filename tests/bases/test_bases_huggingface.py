import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_llamas import SHAPES, VOCAB_SIZE, tiny_llama
from transformers import AutoModelForCausalLM

import noria.model.layouts.llama
from noria.bases.huggingface import INDEX_FILE, read_huggingface, weight_files
from noria.errors import FormatError, InputError, NoriaError


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    folder = tmp_path / "sharded"
    tiny_llama("grouped-tied").save_pretrained(folder, max_shard_size="300KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    return folder


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_folder_gives_the_logits_of_transformers_reading_it(
    shape: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    tiny_llama(shape).to(dtype).save_pretrained(tmp_path, max_shard_size="200KB")
    assert len(weight_files(tmp_path)) > 1
    theirs = AutoModelForCausalLM.from_pretrained(
        tmp_path, dtype=torch.float32, local_files_only=True
    )
    ours = read_huggingface(tmp_path)
    assert all(one.dtype == torch.float32 for one in ours.state_dict().values())
    ids = torch.randint(0, VOCAB_SIZE, (2, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted, found = theirs(ids).logits, ours.logits(ours(ids))
    assert wanted.std() > 0.5
    assert (wanted - found).abs().max() <= 1e-5 * max(1.0, float(wanted.abs().max()))


def test_shards_and_one_file_are_the_same_model(sharded: Path, tmp_path: Path) -> None:
    tiny_llama("grouped-tied").save_pretrained(tmp_path / "one")
    assert len(weight_files(tmp_path / "one")) == 1
    one, many = read_huggingface(tmp_path / "one"), read_huggingface(sharded)
    for name, tensor in one.state_dict().items():
        assert torch.equal(many.state_dict()[name], tensor)


def test_a_model_does_not_change_when_its_file_does(sharded: Path) -> None:
    model = read_huggingface(sharded)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for path in weight_files(sharded):
        data = bytearray(path.read_bytes())
        data[-4000:] = bytes(4000)
        path.write_bytes(data)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pth", "last.ckpt"])
def test_pickle_is_refused_unopened(name: str, sharded: Path) -> None:
    for path in [*weight_files(sharded), sharded / INDEX_FILE]:
        path.unlink()
    with pytest.raises(InputError, match="no weights"):
        read_huggingface(sharded)
    (sharded / name).write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(FormatError, match="can run code"):
        read_huggingface(sharded)


def change_index(folder: Path, **changes: object) -> None:
    path = folder / INDEX_FILE
    value = json.loads(path.read_text())
    value["weight_map"] |= changes
    value["weight_map"] = {name: file for name, file in value["weight_map"].items() if file != ""}
    path.write_text(json.dumps(value))


@pytest.mark.parametrize(
    "changes",
    [
        {"model.norm.weight": ""},
        {"model.norm.weight": 3},
        {"model.norm.weight": None},
        {"model.norm.weight": "none.safetensors"},
        {"model.norm.weight": "../outside.safetensors"},
        {"model.norm.weight": "pytorch_model.bin"},
        {"model.norm.weight": "model-00001-of-00004.safetensors"},
        {"model.other.weight": "model-00001-of-00004.safetensors"},
    ],
)
def test_an_index_that_lies_is_refused(changes: dict[str, object], sharded: Path) -> None:
    (sharded.parent / "outside.safetensors").write_bytes(b"")
    (sharded / "pytorch_model.bin").write_bytes(b"")
    assert "model-00001-of-00004.safetensors" in {path.name for path in weight_files(sharded)}
    change_index(sharded, **changes)
    with pytest.raises(InputError):
        read_huggingface(sharded)


@pytest.mark.parametrize("value", [[], {}, {"weight_map": []}, {"weight_map": {}}])
def test_an_index_without_a_map_is_refused(value: object, sharded: Path) -> None:
    (sharded / INDEX_FILE).write_text(json.dumps(value))
    with pytest.raises(FormatError):
        read_huggingface(sharded)


def test_a_tensor_in_two_shards_is_refused(sharded: Path) -> None:
    first, second = weight_files(sharded)[:2]
    name, tensor = next(iter(load_file(first).items()))
    save_file(load_file(second) | {name: tensor.clone()}, second)
    with pytest.raises(FormatError, match="in two files"):
        read_huggingface(sharded)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": 10**12},
        {"num_hidden_layers": 2},
        {"max_position_embeddings": 10**12},
        {
            "hidden_size": 10**30,
            "num_attention_heads": 1,
            "num_key_value_heads": 1,
            "head_dim": None,
        },
        {"vocab_size": VOCAB_SIZE + 1},
        {"rope_parameters": ["default"]},
        {"rope_parameters": {"rope_theta": 10**400}},
        {"rms_norm_eps": 10**400},
        {"rms_norm_eps": "small"},
        {"tie_word_embeddings": "yes"},
        {"tie_word_embeddings": False},
    ],
)
def test_a_config_that_lies_is_refused_before_any_weight_is_read(
    changes: dict[str, object], sharded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr("noria.bases.huggingface.load_file", never)
    value = json.loads((sharded / "config.json").read_text())
    (sharded / "config.json").write_text(json.dumps(value | changes))
    with pytest.raises(FormatError):
        read_huggingface(sharded)


def test_weights_that_are_no_floats_are_refused(tmp_path: Path) -> None:
    tiny_llama("grouped-tied").save_pretrained(tmp_path)
    (path,) = weight_files(tmp_path)
    tensors = load_file(path)
    save_file(tensors | {"model.norm.weight": torch.ones(96, dtype=torch.int8)}, path)
    with pytest.raises(NoriaError, match=r"model\.norm\.weight of I8"):
        read_huggingface(tmp_path)


def test_what_follows_from_the_config_may_stand_in_the_file(tmp_path: Path) -> None:
    tiny_llama("grouped-tied").save_pretrained(tmp_path)
    (path,) = weight_files(tmp_path)
    tensors = load_file(path)
    computed = f"model.layers.0.self_attn.{noria.model.layouts.llama.COMPUTED_SUFFIX}"
    twice = {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}
    save_file(tensors | twice | {computed: torch.ones(8)}, path)
    assert read_huggingface(tmp_path).head is None
    save_file(tensors | {"lm_head.weight": twice["lm_head.weight"] + 1}, path)
    with pytest.raises(FormatError, match="lm_head"):
        read_huggingface(tmp_path)
