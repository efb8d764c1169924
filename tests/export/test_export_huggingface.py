import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from noria.bases.huggingface import read_huggingface
from noria.bases.importing import import_base
from noria.compress.quantize import quantize_model
from noria.errors import FormatError, InputError, IntegrityError, UsageError
from noria.export.huggingface import export_huggingface
from noria.export.verify import verify_export
from noria.generate.loaded import load_language_model
from noria.model.weights import load_decoder, model_weight_hash, save_model

TEXTS = ["The wheel turns.", "水车 <|im_end|> café", ""]


@pytest.fixture
def exported(model_folder: Path, tmp_path: Path) -> Path:
    out = tmp_path / "exported"
    export_huggingface(model_folder, out)
    return out


def change_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_import_of_an_export_is_the_same_model(
    model_folder: Path, exported: Path, tmp_path: Path
) -> None:
    import_base(exported, tmp_path / "back")
    before, after = load_language_model(model_folder), load_language_model(tmp_path / "back")
    assert after.weight_hash == before.weight_hash
    assert after.model.config == before.model.config
    assert after.tokenizer.chat_format == before.tokenizer.chat_format
    for text in TEXTS:
        assert after.tokenizer.encode(text) == before.tokenizer.encode(text)


def test_verify_says_what_it_compared(model_folder: Path, exported: Path) -> None:
    facts = verify_export(model_folder, exported, TEXTS)
    assert facts["weight_hash"] == model_weight_hash(load_decoder(model_folder))
    assert facts["max_logit_difference"] <= 1e-4
    assert facts["num_texts"] == 3
    assert facts["num_tokens"] > 10
    assert json.loads(json.dumps(facts)) == facts


def test_an_export_with_one_changed_bit_is_found_out(model_folder: Path, exported: Path) -> None:
    path = exported / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="weights with hash"):
        verify_export(model_folder, exported, TEXTS)


def test_an_export_with_other_arithmetic_is_found_out(model_folder: Path, exported: Path) -> None:
    change_json(exported / "config.json", rope_parameters={"rope_theta": 10.0}, rope_theta=10.0)
    with pytest.raises(IntegrityError, match="logits that differ"):
        verify_export(model_folder, exported, TEXTS)


def test_an_export_with_another_tokenizer_is_found_out(model_folder: Path, exported: Path) -> None:
    path = exported / "tokenizer.json"
    value = json.loads(path.read_text())
    value["model"]["merges"] = []
    path.write_text(json.dumps(value))
    with pytest.raises(IntegrityError, match="other token ids for text 1"):
        verify_export(model_folder, exported, TEXTS)


def test_an_int8_model_is_not_exported(model_folder: Path, tmp_path: Path) -> None:
    save_model(model_folder, quantize_model(load_decoder(model_folder)))
    with pytest.raises(UsageError, match="int8"):
        export_huggingface(model_folder, tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "qwen2"},
        {"hidden_act": "gelu"},
        {"attention_bias": True},
        {"mlp_bias": True},
        {"rope_scaling": {"type": "linear", "factor": 2.0}},
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5000.0}},
        {"quantization_config": {"bits": 4}},
        {"head_dim": 16},
        {"num_hidden_layers": 4},
        {"num_hidden_layers": "3"},
        {"num_attention_heads": None},
        {"intermediate_size": 96},
        {"hidden_size": 0},
    ],
)
def test_a_model_that_we_would_compute_differently_is_refused(
    exported: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    change_json(exported / "config.json", **changes)
    with pytest.raises(FormatError):
        import_base(exported, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_foreign_chat_template_is_refused_not_run(exported: Path, tmp_path: Path) -> None:
    change_json(exported / "tokenizer_config.json", chat_template="{{ 1/0 }}")
    with pytest.raises(FormatError, match="chat template"):
        import_base(exported, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_foreign_tokenizer_is_refused_before_anything_is_written(
    exported: Path, tmp_path: Path
) -> None:
    path = exported / "tokenizer.json"
    path.write_text(path.read_text().replace("<|endoftext|>", "<|other|>"))
    with pytest.raises(FormatError, match=r"tokenizer\.json"):
        import_base(exported, tmp_path / "back")
    path.unlink()
    with pytest.raises(InputError, match=r"tokenizer\.json does not exist"):
        import_base(exported, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_old_config_fields_and_half_precision_are_read(model_folder: Path, exported: Path) -> None:
    path = exported / "config.json"
    value = json.loads(path.read_text())
    del value["rope_parameters"], value["head_dim"]
    path.write_text(json.dumps(value | {"rope_scaling": None, "pretraining_tp": 1}))
    tensors = load_file(exported / "model.safetensors")
    halves = {name: tensor.bfloat16() for name, tensor in tensors.items()}
    halves["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    save_file(halves, exported / "model.safetensors")
    original, found = load_decoder(model_folder), read_huggingface(exported)
    assert found.config == original.config
    for name, tensor in original.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor.bfloat16().float())


def test_a_tied_matrix_that_is_written_twice_is_read_once(exported: Path) -> None:
    tensors = load_file(exported / "model.safetensors")
    tied = json.loads((exported / "config.json").read_text())["tie_word_embeddings"]
    embedding = tensors["model.embed_tokens.weight"]
    save_file(tensors | {"lm_head.weight": embedding.clone()}, exported / "model.safetensors")
    assert (read_huggingface(exported).head is None) == tied
    save_file(tensors | {"lm_head.weight": embedding + 1}, exported / "model.safetensors")
    if tied:
        with pytest.raises(FormatError, match="lm_head"):
            read_huggingface(exported)
    else:
        assert torch.equal(read_huggingface(exported).output_weight(), embedding + 1)
