"""Our adapters beside PEFT's over transformers' Llama: the independent reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from noria.model.adapted import TARGETS
from noria.model.adapters import (
    adapter_tensors,
    adapters,
    add_adapter,
    fill_adapter,
    load_adapter,
    merged,
    save_adapter,
    use_adapter,
)
from noria.model.config import ModelConfig
from noria.model.layouts.llama import to_llama
from noria.model.layouts.peft import peft_names
from noria.model.likelihood import cross_entropy_sum
from noria.model.transformer import Decoder, build_decoder

# peft 0.21.2 asks transformers 5 by an older name.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")

CONFIG = ModelConfig(
    vocab_size=150,
    context_tokens=64,
    num_layers=3,
    width=48,
    num_heads=6,
    num_kv_heads=2,
    ffn_width=80,
)
IDS = torch.randint(0, 150, (2, 40), generator=torch.Generator().manual_seed(1))
TARGET_SETS = {"all": tuple(TARGETS), "attention": ("query", "value"), "feed": ("gate", "down")}


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def base(request: pytest.FixtureRequest) -> Decoder:
    torch.set_num_threads(1)
    model = build_decoder(replace(CONFIG, tied=request.param), 1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter *= 4
    return model


def in_transformers(model: Decoder) -> LlamaForCausalLM:
    hf_config, tensors = to_llama(model.config, model.state_dict())
    theirs = LlamaForCausalLM(LlamaConfig(**hf_config))
    theirs.load_state_dict(tensors, strict=False)
    theirs.tie_weights()
    return theirs.eval()


def adapt(model: Decoder, targets: tuple[str, ...], alpha: float = 12) -> None:
    add_adapter(model, "ours", 4, alpha, targets, seed=2)
    generator = torch.Generator().manual_seed(3)
    tensors = {
        name: 0.1 * torch.randn(one.shape, generator=generator)
        for name, one in adapter_tensors(model, "ours").items()
    }
    fill_adapter(model, "ours", tensors)


def logits(model: Decoder) -> torch.Tensor:
    with torch.no_grad():
        return model.logits(model(IDS))


@pytest.mark.parametrize("targets", TARGET_SETS.values(), ids=TARGET_SETS)
def test_peft_loads_our_adapter_and_gives_the_same_logits(
    base: Decoder, targets: tuple[str, ...], tmp_path: Path
) -> None:
    theirs = in_transformers(base)
    plain = logits(base)
    adapt(base, targets, alpha=6.5)
    save_adapter(tmp_path, base, "ours", "some-base")
    loaded = PeftModel.from_pretrained(theirs, tmp_path)
    with torch.no_grad():
        wanted = loaded(IDS).logits
    assert (plain - wanted).abs().max() > 0.1
    assert (logits(base) - wanted).abs().max() <= 1e-4
    with torch.no_grad():
        unloaded = loaded.merge_and_unload()(IDS).logits
    assert (logits(merged(base, "ours")) - unloaded).abs().max() <= 1e-4


def test_gradients_equal_those_of_peft(base: Decoder, tmp_path: Path) -> None:
    theirs = in_transformers(base)
    adapt(base, TARGET_SETS["all"])
    save_adapter(tmp_path, base, "ours", "some-base")
    loaded = PeftModel.from_pretrained(theirs, tmp_path, is_trainable=True)
    mask = torch.rand(2, 39, generator=torch.Generator().manual_seed(5)) < 0.4
    total, num_tokens = cross_entropy_sum(base, base(IDS[:, :-1]), IDS[:, 1:], mask)
    (total / num_tokens).backward()
    F.cross_entropy(loaded(IDS[:, :-1]).logits[mask], IDS[:, 1:][mask]).backward()
    wanted = {
        name.replace(".default", ""): p.grad
        for name, p in loaded.named_parameters()
        if p.requires_grad
    }
    names = peft_names(base.config, frozenset(TARGETS))
    found = {
        names[name.replace("updates.@ours.", "")]: p.grad
        for name, p in base.named_parameters()
        if p.requires_grad
    }
    assert found.keys() == wanted.keys()
    for name, gradient in found.items():
        assert gradient.abs().max() > 0
        assert (gradient - wanted[name]).abs().max() <= 1e-5, name


PEFT_SETTINGS: dict[str, dict[str, Any]] = {
    "all-linear": {"target_modules": "all-linear", "task_type": "CAUSAL_LM"},
    "list": {"target_modules": ["q_proj", "up_proj"], "lora_dropout": 0.1},
    "rslora": {"target_modules": ["self_attn.o_proj"], "use_rslora": True},
    "gaussian": {"target_modules": ["v_proj"], "init_lora_weights": "gaussian"},
}


@pytest.mark.parametrize("settings", PEFT_SETTINGS.values(), ids=PEFT_SETTINGS)
def test_an_adapter_trained_by_peft_loads_in_ours(
    base: Decoder, settings: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(1)
    theirs = get_peft_model(in_transformers(base), LoraConfig(r=3, lora_alpha=7, **settings))
    trained = [p for p in theirs.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.03)
    for _ in range(4):
        F.cross_entropy(theirs(IDS[:, :-1]).logits.flatten(0, 1), IDS[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()
    theirs.eval()
    theirs.save_pretrained(tmp_path)
    plain = logits(base)
    load_adapter(tmp_path, base, "theirs")
    with torch.no_grad():
        wanted = theirs(IDS).logits
    assert (plain - wanted).abs().max() > 0.1
    assert (logits(base) - wanted).abs().max() <= 1e-4
    assert adapters(base)["theirs"].rank == 3
    use_adapter(base, None)
    assert torch.equal(logits(base), plain)
