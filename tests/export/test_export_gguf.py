import importlib.util
import json
from pathlib import Path

import pytest
import torch
from llama_cpp import greedy, greedy_chat, open_llama_cpp
from tiny_llamas import SHAPES, TEXTS, speak_ascii, tiny_llama, tokenizer_keys, write_gguf
from transformers import AutoModelForCausalLM, AutoTokenizer

from noria.bases.gguf import read_gguf_model
from noria.bases.importing import import_base
from noria.compress.quantize import quantize_model
from noria.containers.gguf import read_gguf
from noria.errors import IntegrityError, MissingExtra, UsageError
from noria.export.gguf import export_gguf
from noria.export.verify import verify_export
from noria.generate.engine import generate_tokens
from noria.generate.loaded import load_language_model
from noria.generate.sampling import Sampling
from noria.model.weights import load_decoder, model_weight_hash, save_model
from noria.records import Message, text_content
from noria.tokenizer.chat import render_chat

PROMPTS = ["The wheel", "水车由 turns", "a town of 1234 fields,"]


@pytest.fixture(params=SHAPES)
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    pre = "gpt-2" if request.param == "full-untied" else "smollm"
    keys = tokenizer_keys(pre)
    write_gguf(tmp_path / "tiny.gguf", speak_ascii(tiny_llama(request.param), keys), changes=keys)
    import_base(tmp_path / "tiny.gguf", tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def exported(base: Path, tmp_path: Path) -> Path:
    export_gguf(base, tmp_path / "out" / "model.gguf")
    return tmp_path / "out" / "model.gguf"


def test_what_was_exported_is_what_is_read_back(base: Path, exported: Path) -> None:
    facts = verify_export(base, exported, [*TEXTS, "1234 <|im_end|> \n\n  x", ""])
    assert facts["weight_hash"] == model_weight_hash(load_decoder(base))
    assert facts["max_logit_difference"] == 0
    assert read_gguf_model(exported).config == load_decoder(base).config
    assert [path.name for path in exported.parent.iterdir()] == ["model.gguf"]


def test_an_export_with_one_changed_bit_is_found_out(base: Path, exported: Path) -> None:
    data = bytearray(exported.read_bytes())
    data[read_gguf(exported).tensors["blk.1.ffn_up.weight"].start] ^= 1
    exported.write_bytes(data)
    with pytest.raises(IntegrityError, match="weights with hash"):
        verify_export(base, exported, TEXTS)


def test_an_import_of_an_export_is_the_same_model(
    base: Path, exported: Path, tmp_path: Path
) -> None:
    import_base(exported, tmp_path / "again")
    before, after = load_language_model(base), load_language_model(tmp_path / "again")
    assert after.weight_hash == before.weight_hash
    assert after.model.config == before.model.config
    stored = [
        json.loads((one / "tokenizer_meta.json").read_text()) for one in (base, tmp_path / "again")
    ]
    assert stored[0] == stored[1]
    for text in TEXTS:
        assert after.tokenizer.encode(text) == before.tokenizer.encode(text)


def test_our_engine_transformers_and_llama_cpp_give_the_same_greedy_answers(
    base: Path, exported: Path
) -> None:
    ours = load_language_model(base)
    theirs = AutoModelForCausalLM.from_pretrained(
        exported.parent, gguf_file=exported.name, dtype=torch.float32, local_files_only=True
    )
    their_tokenizer = AutoTokenizer.from_pretrained(
        exported.parent, gguf_file=exported.name, local_files_only=True
    )
    server = open_llama_cpp(exported, 64)
    for prompt in PROMPTS:
        ids = ours.tokenizer.encode(prompt)
        assert their_tokenizer(prompt, add_special_tokens=False)["input_ids"] == ids
        answer = list(generate_tokens(ours, ids, Sampling(temperature=0, max_tokens=16)))
        assert len(set(answer)) > 1
        found = theirs.generate(torch.tensor([ids]), max_new_tokens=16, do_sample=False)
        assert found[0, len(ids) :].tolist() == answer
        with torch.no_grad():
            hidden = ours.model(torch.tensor([ids + answer]))
            scores = ours.model.logits(hidden)[0, len(ids) - 1 : -1].log_softmax(-1)
        for given in (prompt, ids):  # llama.cpp cuts the text as we do
            their_ids, their_scores, text = greedy(server, given, 16)
            assert their_ids == answer
            assert text == ours.tokenizer.decode(answer)
            wanted = scores[range(16), answer]
            assert (wanted - torch.tensor(their_scores)).abs().max() <= 1e-4


@pytest.mark.parametrize("roles", ["user", "system user", "user assistant user"])
def test_llama_cpp_renders_and_answers_a_chat_as_we_do(
    roles: str, base: Path, exported: Path
) -> None:
    ours = load_language_model(base)
    turns = [(role, f"水 turns {number}") for number, role in enumerate(roles.split())]
    messages = [Message(role, text_content(text)) for role, text in turns]
    prompt_ids = [
        *ours.tokenizer.start_ids,
        *render_chat(ours.tokenizer, messages, add_answer_prompt=True).ids,
    ]
    answer = generate_tokens(ours, prompt_ids, Sampling(temperature=0, max_tokens=8))
    text, num_tokens = greedy_chat(
        open_llama_cpp(exported, 256), [{"role": role, "content": text} for role, text in turns], 8
    )
    assert num_tokens == len(prompt_ids) <= 200
    assert text.strip() == ours.tokenizer.decode(answer).strip()


def test_an_int8_model_is_not_exported(base: Path, tmp_path: Path) -> None:
    save_model(base, quantize_model(load_decoder(base)))
    with pytest.raises(UsageError, match="int8"):
        export_gguf(base, tmp_path / "out.gguf")
    assert not (tmp_path / "out.gguf").exists()


def test_a_tokenizer_that_llama_cpp_would_cut_differently_is_not_exported(
    model_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"llama\.cpp does not know"):
        export_gguf(model_folder, tmp_path / "out.gguf")
    assert not (tmp_path / "out.gguf").exists()


def test_without_the_gguf_package_the_extra_is_named(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "gguf" else find(name, *rest),
    )
    with pytest.raises(MissingExtra, match=r"noria\[export\]"):
        export_gguf(base, tmp_path / "out.gguf")
