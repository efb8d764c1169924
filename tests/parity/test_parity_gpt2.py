"""Our decoder with GPT-2's semantics beside transformers' GPT2LMHeadModel."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from reference_models import (
    assert_near,
    assert_same_gradients,
    assert_same_tensors,
    fill_reference,
    fresh_gpt2,
    gradients,
    random_ids,
    real_tokens,
    spread,
)
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from noria.bases.huggingface import read_huggingface
from noria.bases.importing import import_base
from noria.errors import UsageError
from noria.export.huggingface import export_huggingface
from noria.export.verify import verify_export
from noria.generate.engine import generate_tokens
from noria.generate.loaded import load_language_model
from noria.generate.sampling import Sampling
from noria.model.cache import KVCache
from noria.model.config import ModelConfig
from noria.model.historical import GPT2
from noria.model.layouts.gpt2 import from_gpt2, to_gpt2
from noria.model.masks import Rows
from noria.model.styles import AttentionStyle, Dropout, FeedForwardStyle, Norm
from noria.model.transformer import Decoder, build_decoder, empty_decoder, fill_model
from noria.model.weights import load_decoder, model_weight_hash, save_model
from noria.tokenizer.train import train_tokenizer

torch.set_num_threads(1)
VOCAB_SIZE = 150
CONFIG = replace(
    GPT2,
    vocab_size=VOCAB_SIZE,
    context_tokens=64,
    num_layers=3,
    width=48,
    num_heads=6,
    num_kv_heads=6,
    ffn_width=80,
    norm=Norm(kind="layer", epsilon=3e-6),
    dropout=Dropout(hidden=0.2, attention=0.3),
)
CONFIGS = {
    "tied": CONFIG,
    "untied-relu": replace(
        CONFIG,
        tied=False,
        num_layers=2,
        feedforward=FeedForwardStyle(activation="relu", gated=False, bias=True),
        dropout=Dropout(),
    ),
    "unscaled-gelu": replace(
        CONFIG,
        num_heads=2,
        num_kv_heads=2,
        width=20,
        ffn_width=90,
        attention=AttentionStyle(bias=True, scaled=False),
        feedforward=FeedForwardStyle(activation="gelu", gated=False, bias=True),
    ),
}
LENGTHS = {"whole": (40, 40, 40), "padded": (40, 23, 5)}  # tokens of each row
TEXTS = ["The wheel turns because the river turns it.", "水车由河水推动，灌溉农田。"] * 3


@pytest.fixture(params=CONFIGS)
def pair(request: pytest.FixtureRequest) -> tuple[Decoder, GPT2LMHeadModel]:
    ours = spread(build_decoder(CONFIGS[request.param], 1)).eval()
    hf_config, tensors = to_gpt2(ours.config, ours.state_dict())
    theirs = GPT2LMHeadModel(GPT2Config(**hf_config))
    return ours, fill_reference(theirs, tensors, {"lm_head.weight"} if ours.config.tied else ())


@pytest.fixture(params=LENGTHS)
def real(request: pytest.FixtureRequest) -> Tensor:
    return real_tokens(LENGTHS[request.param])


def our_logits(model: Decoder, ids: Tensor, real: Tensor) -> Tensor:
    return model.logits(model(ids, rows=Rows(real=None if bool(real.all()) else real)))


def test_logits_equal_those_of_transformers(
    pair: tuple[Decoder, GPT2LMHeadModel], real: Tensor
) -> None:
    ours, theirs = pair
    ids = random_ids(VOCAB_SIZE, *real.shape)
    with torch.no_grad():
        wanted = theirs(ids, attention_mask=real.long()).logits
        assert_near(our_logits(ours, ids, real)[real], wanted[real])


def test_left_padding_gives_the_logits_of_transformers(
    pair: tuple[Decoder, GPT2LMHeadModel],
) -> None:
    ours, theirs = pair
    real = real_tokens(LENGTHS["padded"]).flip(1)
    ids = random_ids(VOCAB_SIZE, *real.shape)
    with torch.no_grad():
        wanted = theirs(ids, attention_mask=real.long()).logits
        assert_near(our_logits(ours, ids, real)[real], wanted[real])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_logits_from_a_cache_equal_those_of_transformers_for_any_split(
    pair: tuple[Decoder, GPT2LMHeadModel], seed: int
) -> None:
    ours, theirs = pair
    ids = random_ids(VOCAB_SIZE, 2, 40, seed)
    cuts = torch.randperm(39, generator=torch.Generator().manual_seed(seed))[:5].sort().values + 1
    parts = ids.tensor_split(cuts.tolist(), dim=1)
    cache, past = KVCache(ours.config, 2, 40), None
    found, cached = [], []
    with torch.no_grad():
        for part in parts:
            found.append(ours.logits(ours(part, cache)))
            answer = theirs(part, past_key_values=past, use_cache=True)
            past = answer.past_key_values
            cached.append(answer.logits)
        whole = theirs(ids).logits
    assert_near(torch.cat(found, 1), torch.cat(cached, 1))
    assert_near(torch.cat(found, 1), whole)


def test_gradients_equal_those_of_transformers(
    pair: tuple[Decoder, GPT2LMHeadModel], real: Tensor
) -> None:
    ours, theirs = pair
    ids = random_ids(VOCAB_SIZE, *real.shape)
    targets = ids[:, 1:].masked_fill(~real[:, 1:], -100)
    losses = [
        F.cross_entropy(logits[:, :-1].flatten(0, 1), targets.flatten())
        for logits in (
            our_logits(ours, ids, real),
            theirs(ids, attention_mask=real.long()).logits,
        )
    ]
    for loss in losses:
        loss.backward()
    assert torch.allclose(*losses, atol=1e-5)
    _, found = to_gpt2(ours.config, gradients(ours))
    assert_same_gradients(found, theirs)


def test_ours_comes_back_from_their_layout_bit_for_bit(
    pair: tuple[Decoder, GPT2LMHeadModel],
) -> None:
    ours, theirs = pair
    config, tensors = from_gpt2(*to_gpt2(ours.config, ours.state_dict()))
    assert config == ours.config
    assert_same_tensors(tensors, ours.state_dict())
    config, tensors = from_gpt2(theirs.config.to_dict(), theirs.state_dict())
    assert config == ours.config
    assert_same_tensors(tensors, ours.state_dict())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_word_embeddings": False, "n_inner": 50, "activation_function": "gelu_pytorch_tanh"},
        {"activation_function": "relu", "scale_attn_weights": False, "resid_pdrop": 0.1},
    ],
)
def test_a_model_made_by_transformers_comes_back_bit_for_bit(changes: dict[str, Any]) -> None:
    theirs = fresh_gpt2(VOCAB_SIZE, **changes)
    config, tensors = from_gpt2(theirs.config.to_dict(), theirs.state_dict())
    ours = fill_model(empty_decoder(config), tensors).eval()
    ids = random_ids(VOCAB_SIZE, 2, 48)
    with torch.no_grad():
        assert_near(ours.logits(ours(ids)), theirs(ids).logits)
    hf_config, returned = to_gpt2(config, ours.state_dict())
    wanted = theirs.state_dict()
    if config.tied:
        del wanted["lm_head.weight"]
    assert_same_tensors(returned, wanted)
    assert GPT2Config(**hf_config).n_inner == (theirs.config.n_inner or 4 * 32)


def test_dropout_rates_are_carried_over(pair: tuple[Decoder, GPT2LMHeadModel]) -> None:
    ours, theirs = pair
    rates = {one.p for name, one in theirs.named_modules() if name.endswith("attn_dropout")}
    assert rates == {ours.config.dropout.attention}
    rates = {theirs.transformer.drop.p, theirs.transformer.h[0].mlp.dropout.p}
    assert rates == {ours.config.dropout.hidden}


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A folder as transformers writes it."""
    fresh_gpt2(VOCAB_SIZE).save_pretrained(tmp_path / "stored")
    return tmp_path / "stored"


def test_a_folder_with_a_bare_body_and_old_masks_is_read(stored: Path) -> None:
    plain = read_huggingface(stored)
    path = stored / "model.safetensors"
    tensors = {
        name.removeprefix("transformer."): tensor for name, tensor in load_file(path).items()
    }
    mask = torch.ones(1, 1, 48, 48, dtype=torch.uint8).tril()
    masks = {"h.0.attn.bias": mask, "h.1.attn.masked_bias": torch.tensor(-1e4)}
    twice = {"lm_head.weight": tensors["wte.weight"].clone()}
    save_file(tensors | masks | twice, path)
    assert_same_tensors(read_huggingface(stored).state_dict(), plain.state_dict())


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    facts = train_tokenizer(TEXTS, 340, tmp_path / "ours", "chatml")
    config = replace(CONFIG, vocab_size=facts["vocab_size"])
    save_model(tmp_path / "ours", spread(build_decoder(config, 1)))
    return tmp_path / "ours"


def test_an_export_is_a_gpt2_with_the_same_logits_and_answer_and_imports_again(
    model_folder: Path, tmp_path: Path
) -> None:
    exported, back = tmp_path / "exported", tmp_path / "back"
    export_huggingface(model_folder, exported)
    ours = load_language_model(model_folder)
    theirs = AutoModelForCausalLM.from_pretrained(exported, local_files_only=True)
    assert isinstance(theirs, GPT2LMHeadModel)
    ids = [0, *ours.tokenizer.encode("The wheel 水车")]
    with torch.no_grad():
        wanted = theirs(torch.tensor([ids])).logits
        assert_near(ours.model.logits(ours.model(torch.tensor([ids]))), wanted)
    tokens = list(generate_tokens(ours, ids, Sampling(temperature=0, max_tokens=12)))
    answer = theirs.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False)
    assert answer[0, len(ids) :].tolist() == tokens
    assert verify_export(model_folder, exported, TEXTS[:2])["max_logit_difference"] == 0
    import_base(exported, back)
    assert model_weight_hash(load_decoder(back)) == ours.weight_hash
    assert load_decoder(back).config == ours.model.config


def test_a_model_that_no_layout_can_say_is_not_exported(model_folder: Path, tmp_path: Path) -> None:
    config: ModelConfig = replace(load_decoder(model_folder).config, norm=Norm())
    save_model(model_folder, build_decoder(config, 1))
    with pytest.raises(UsageError, match="llama, gpt2"):
        export_huggingface(model_folder, tmp_path / "exported")
    assert not (tmp_path / "exported").exists()
