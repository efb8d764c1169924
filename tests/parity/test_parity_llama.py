"""Our decoder beside transformers' LlamaForCausalLM: the independent reference."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from reference_models import assert_same_gradients, fill_reference, gradients, spread
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from noria.bases.importing import import_base
from noria.export.huggingface import export_huggingface
from noria.generate.engine import generate_tokens
from noria.generate.loaded import load_language_model
from noria.generate.sampling import Sampling
from noria.model.cache import KVCache
from noria.model.config import ModelConfig
from noria.model.layouts.llama import from_llama, to_llama
from noria.model.likelihood import cross_entropy_sum
from noria.model.presets import preset
from noria.model.styles import Norm, Positions
from noria.model.transformer import Decoder, build_decoder, empty_decoder, fill_model
from noria.model.weights import load_decoder, model_weight_hash, save_model
from noria.records import Message, text_content
from noria.tokenizer.chat import render_chat
from noria.tokenizer.train import train_tokenizer

torch.set_num_threads(1)
CONFIG = ModelConfig(
    vocab_size=350,
    context_tokens=64,
    num_layers=3,
    width=48,
    num_heads=6,
    num_kv_heads=2,
    ffn_width=80,
    positions=Positions(base=5000.0),
    norm=Norm(epsilon=3e-6),
)
CONFIGS = {
    "grouped-tied": CONFIG,
    "full-untied": replace(CONFIG, num_kv_heads=6, tied=False, positions=Positions()),
    "single-key": replace(CONFIG, num_kv_heads=1, num_layers=1),
    "preset": preset("decoder-1m", 350, 64),
}
TEXTS = ["The wheel turns because the river turns it.", "水车由河水推动，灌溉农田。"] * 3


@pytest.fixture(params=CONFIGS)
def pair(request: pytest.FixtureRequest) -> tuple[Decoder, LlamaForCausalLM]:
    ours = spread(build_decoder(CONFIGS[request.param], 1))
    hf_config, tensors = to_llama(ours.config, ours.state_dict())
    theirs = LlamaForCausalLM(LlamaConfig(**hf_config))
    return ours, fill_reference(theirs, tensors, {"lm_head.weight"} if ours.config.tied else ())


def some_ids() -> torch.Tensor:
    return torch.randint(0, 350, (3, 60), generator=torch.Generator().manual_seed(1))


def test_logits_equal_those_of_transformers(pair: tuple[Decoder, LlamaForCausalLM]) -> None:
    ours, theirs = pair
    ids = some_ids()
    with torch.no_grad():
        wanted, found = theirs(ids).logits, ours.logits(ours(ids))
        cache = KVCache(ours.config, 3, 60)
        parts = [ours.logits(ours(part, cache)) for part in ids.split([17, 1, 42], 1)]
    assert wanted.std() > 0.5
    assert (wanted - found).abs().max() <= 1e-5 * max(1.0, float(wanted.abs().max()))
    assert (wanted - torch.cat(parts, 1)).abs().max() <= 1e-4


def test_gradients_equal_those_of_transformers(pair: tuple[Decoder, LlamaForCausalLM]) -> None:
    ours, theirs = pair
    ids = some_ids()
    total, num_tokens = cross_entropy_sum(ours, ours(ids[:, :-1]), ids[:, 1:], torch.ones(3, 59))
    (total / num_tokens).backward()
    loss = F.cross_entropy(theirs(ids[:, :-1]).logits.flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    assert torch.allclose(total / num_tokens, loss, atol=1e-5)
    _, found = to_llama(ours.config, gradients(ours))
    assert_same_gradients(found, theirs)


def test_a_model_made_by_transformers_imports_and_returns_unchanged(
    pair: tuple[Decoder, LlamaForCausalLM],
) -> None:
    _, theirs = pair
    config, tensors = from_llama(theirs.config.to_dict(), theirs.state_dict())
    ours = fill_model(empty_decoder(config), tensors)
    ids = some_ids()
    with torch.no_grad():
        assert (theirs(ids).logits - ours.logits(ours(ids))).abs().max() <= 5e-5
    _, returned = to_llama(config, ours.state_dict())
    for name, tensor in returned.items():
        assert torch.equal(tensor, theirs.state_dict()[name])


@pytest.fixture(params=["plain", "chatml"])
def folders(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    facts = train_tokenizer(TEXTS, 340, tmp_path / "ours", request.param)
    config = replace(CONFIG, vocab_size=facts["vocab_size"])
    save_model(tmp_path / "ours", spread(build_decoder(config, 1)))
    export_huggingface(tmp_path / "ours", tmp_path / "theirs")
    return tmp_path / "ours", tmp_path / "theirs"


def test_transformers_loads_the_export_and_gives_the_same_logits_and_answer(
    folders: tuple[Path, Path],
) -> None:
    ours = load_language_model(folders[0])
    theirs = AutoModelForCausalLM.from_pretrained(folders[1], local_files_only=True)
    assert isinstance(theirs, LlamaForCausalLM)
    ids = [0, *ours.tokenizer.encode("The wheel 水车")]
    with torch.no_grad():
        wanted = theirs(torch.tensor([ids])).logits
        found = ours.model.logits(ours.model(torch.tensor([ids])))
    assert (wanted - found).abs().max() <= 1e-5 * max(1.0, float(wanted.abs().max()))
    tokens = list(generate_tokens(ours, ids, Sampling(temperature=0, max_tokens=12)))
    answer = theirs.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False)
    assert answer[0, len(ids) :].tolist() == tokens


def test_transformers_reads_the_tokenizer_and_the_chat_format(
    folders: tuple[Path, Path],
) -> None:
    ours = load_language_model(folders[0]).tokenizer
    theirs = AutoTokenizer.from_pretrained(folders[1], local_files_only=True)
    for text in (*TEXTS[:2], "café 😀\n\n  x"):
        assert theirs(text)["input_ids"] == ours.encode(text)
        assert theirs.decode(ours.encode(text)) == text
    assert (theirs.eos_token_id, theirs.pad_token_id, theirs.bos_token_id) == (0, 3, None)
    turns = [("user", "The wheel?"), ("assistant", "turns"), ("user", "水车")]
    messages = [Message(role, text_content(text)) for role, text in turns]
    found = theirs.apply_chat_template(
        [{"role": role, "content": text} for role, text in turns],
        add_generation_prompt=True,
        return_dict=False,
    )
    assert found == [0, *render_chat(ours, messages, add_answer_prompt=True).ids]


def test_what_transformers_saves_again_imports_with_the_same_weight_hash(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    again = tmp_path / "again"
    AutoModelForCausalLM.from_pretrained(folders[1], local_files_only=True).save_pretrained(again)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (again / name).write_bytes((folders[1] / name).read_bytes())
    import_base(again, tmp_path / "back")
    before, after = load_decoder(folders[0]), load_decoder(tmp_path / "back")
    assert model_weight_hash(after) == model_weight_hash(before)
    assert after.config == before.config
    assert json.loads((again / "config.json").read_text())["model_type"] == "llama"
