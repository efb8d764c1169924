import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from sentencepieces import processor, proto, trained
from tiny_llamas import VOCAB_SIZE, tiny_llama, tokenizer_keys, write_gguf
from transformers import AutoTokenizer

from noria.artifacts import file_digest
from noria.bases.catalogue import resolve_base
from noria.bases.importing import import_base, import_encoder
from noria.errors import FormatError, InputError, UsageError
from noria.export.gguf import export_gguf
from noria.export.huggingface import export_huggingface
from noria.export.verify import verify_export
from noria.generate.loaded import load_language_model
from noria.model.cost import num_parameters
from noria.model.transformer import Encoder
from noria.model.weights import load_model, model_weight_hash
from noria.records import Message, text_content
from noria.runtime import cache_folder
from noria.tokenizer.bert import load_bert_tokenizer
from noria.tokenizer.chat import render_chat
from noria.tokenizer.known_templates import known_template


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


def test_a_llama_with_a_sentencepiece_model_is_imported_and_exported_as_it_is(
    tmp_path: Path,
) -> None:
    data = trained("bpe", vocab_size=900)
    theirs = tmp_path / "theirs"
    model = tiny_llama("grouped-tied", vocab_size=904)
    model.save_pretrained(theirs)
    (theirs / "tokenizer.model").write_bytes(data)
    config = {"chat_template": known_template("llama-2", "bos").text, "eos_token": "</s>"}
    (theirs / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    facts = import_base(theirs, tmp_path / "base")
    assert (facts.chat_format, facts.vocab_size) == ("llama-2", 900)
    ours = load_language_model(tmp_path / "base")
    said = ["The wheel turns.", "水车 转动 <s> 😀\n\n  12"]
    assert ours.tokenizer.encode_batch(said) == processor(data).encode(said)
    export_huggingface(tmp_path / "base", tmp_path / "exported")
    assert verify_export(tmp_path / "base", tmp_path / "exported", said)["num_texts"] == 2
    assert import_base(tmp_path / "exported", tmp_path / "again").weight_hash == facts.weight_hash
    other = AutoTokenizer.from_pretrained(tmp_path / "exported", local_files_only=True)
    chat = [Message("user", text_content("Lit?")), Message("assistant", text_content("Yes 灯"))]
    wanted = other.apply_chat_template(
        [{"role": one.role, "content": one.content[0].text} for one in chat], return_dict=False
    )
    rendered = render_chat(ours.tokenizer, chat, add_answer_prompt=False)
    assert [*ours.tokenizer.start_ids, *rendered.ids] == wanted
    with pytest.raises(UsageError, match="SentencePiece"):
        export_gguf(tmp_path / "base", tmp_path / "model.gguf")


def test_a_gguf_file_with_a_sentencepiece_vocabulary_is_imported(tmp_path: Path) -> None:
    data = trained("bpe", vocab_size=900)
    pieces = proto(data).pieces
    keys = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": [one.piece for one in pieces],
        "tokenizer.ggml.scores": [one.score for one in pieces],
        "tokenizer.ggml.token_type": [one.type for one in pieces],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }
    write_gguf(tmp_path / "tiny.gguf", tiny_llama("grouped-tied", vocab_size=900), changes=keys)
    import_base(tmp_path / "tiny.gguf", tmp_path / "base")
    ours = load_language_model(tmp_path / "base").tokenizer
    said = ["The wheel turns.", "水车 转动 <s> 😀\n\n  12"]
    assert ours.encode_batch(said) == processor(data).encode(said)
    assert ours.start_ids == (1,)


def test_the_named_encoder_becomes_a_folder_of_ours(tmp_path: Path) -> None:
    source = resolve_base("all-minilm-l6-v2", tmp_path, cache_folder())
    facts = import_encoder(source, tmp_path / "out")
    model = load_model(tmp_path / "out")
    assert isinstance(model, Encoder)
    assert model_weight_hash(model) == facts.weight_hash
    assert facts.num_parameters == sum(one.numel() for one in model.parameters())
    assert load_bert_tokenizer(tmp_path / "out").vocab_size == facts.vocab_size == 30522
    assert facts.source_sha256 == (file_digest(source / "model.safetensors"),)
    with pytest.raises(FormatError, match="decoder"):
        import_base(source, tmp_path / "decoder")
    with pytest.raises(InputError, match="no folder"):
        import_encoder(source / "model.safetensors", tmp_path / "none")
    assert not (tmp_path / "none").exists()
