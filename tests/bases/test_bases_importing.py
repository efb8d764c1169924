import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from tiny_llamas import VOCAB_SIZE, tiny_llama, tokenizer_keys, write_gguf

from noria.artifacts import file_digest
from noria.bases.importing import import_base
from noria.errors import FormatError, InputError
from noria.export.huggingface import export_huggingface
from noria.generate.loaded import load_language_model
from noria.model.cost import num_parameters


@pytest.fixture
def gguf_file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    write_gguf(path, tiny_llama("grouped-tied"), "Q8_0", changes=tokenizer_keys())
    return path


def test_an_imported_file_loads_as_a_model_folder_of_ours(gguf_file: Path, tmp_path: Path) -> None:
    facts = import_base(gguf_file, tmp_path / "base")
    loaded = load_language_model(tmp_path / "base")
    assert facts.weight_hash == loaded.weight_hash
    assert facts.container == "gguf"
    assert facts.source_sha256 == (file_digest(gguf_file),)
    assert facts.num_parameters == num_parameters(loaded.model.config)
    assert facts.vocab_size == loaded.tokenizer.vocab_size <= VOCAB_SIZE
    assert facts.chat_format == loaded.tokenizer.chat_format == "smollm2"
    assert facts.context_tokens == 256
    assert json.loads(json.dumps(asdict(facts)))
    assert all(one.dtype == torch.float32 for one in loaded.model.state_dict().values())
    assert loaded.tokenizer.decode(loaded.tokenizer.encode("水车 turns")) == "水车 turns"


def test_a_file_and_the_folder_exported_from_it_are_the_same_model(
    gguf_file: Path, tmp_path: Path
) -> None:
    before = import_base(gguf_file, tmp_path / "base")
    export_huggingface(tmp_path / "base", tmp_path / "exported")
    after = import_base(tmp_path / "exported", tmp_path / "again")
    assert after.container == "huggingface"
    assert after.weight_hash == before.weight_hash
    assert after.chat_format == before.chat_format
    for name in ("config.json", "model.safetensors", "tokenizer_meta.json"):
        again = (tmp_path / "again" / name).read_bytes()
        assert again == (tmp_path / "base" / name).read_bytes(), name


@pytest.mark.parametrize(
    "changes",
    [
        {"tokenizer.chat_template": "{{ 1/0 }}"},
        {"tokenizer.ggml.pre": "unheard-of"},
        {"tokenizer.ggml.model": "llama"},
        {"tokenizer.ggml.tokens": None},
        {"llama.attention.sliding_window": 16},
    ],
)
def test_what_can_not_be_imported_leaves_nothing(
    changes: dict[str, object], tmp_path: Path
) -> None:
    path = tmp_path / "tiny.gguf"
    write_gguf(path, tiny_llama("grouped-tied"), changes=tokenizer_keys() | changes)
    with pytest.raises(FormatError):
        import_base(path, tmp_path / "base")
    assert not (tmp_path / "base").exists()


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    write_gguf(path, tiny_llama("grouped-tied", 300), changes=tokenizer_keys())
    with pytest.raises(FormatError, match=r"tiny\.gguf: a tokenizer of 3\d\d ids"):
        import_base(path, tmp_path / "base")
    assert not (tmp_path / "base").exists()


def test_a_path_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        import_base(tmp_path / "none", tmp_path / "base")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no weights"):
        import_base(tmp_path / "empty", tmp_path / "base")
    (tmp_path / "text.gguf").write_text("not a model")
    with pytest.raises(FormatError, match=r"text\.gguf"):
        import_base(tmp_path / "text.gguf", tmp_path / "base")
