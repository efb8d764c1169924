"""Adapter folders: written and read bit for bit, and whatever is not plain LoRA refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapted_models import CONFIG, adapted, logits, trained_names
from safetensors.torch import load_file, save_file

from noria.errors import FormatError, InputError
from noria.model.adapters import adapter_tensors, adapters, load_adapter, save_adapter
from noria.model.transformer import build_decoder
from noria.model.weights import weight_hash


def test_a_stored_adapter_comes_back_bit_for_bit(tmp_path: Path) -> None:
    model = adapted(targets=["query", "gate"])
    save_adapter(tmp_path, model, "one", "some-base")
    other = build_decoder(CONFIG, seed=5)
    load_adapter(tmp_path, other, "again")
    assert adapters(other)["again"] == adapters(model)["one"]
    assert weight_hash(adapter_tensors(other, "again")) == weight_hash(
        adapter_tensors(model, "one")
    )
    assert torch.equal(logits(other), logits(model))
    assert len(trained_names(other)) == len(trained_names(model))


def test_half_precision_tensors_are_read_exactly(tmp_path: Path) -> None:
    model = adapted()
    save_adapter(tmp_path, model, "one", "some-base")
    path = tmp_path / "adapter_model.safetensors"
    halves = {name: one.bfloat16() for name, one in load_file(path).items()}
    save_file(halves, path)
    load_adapter(tmp_path, model, "half")
    for name, tensor in adapter_tensors(model, "half").items():
        assert torch.equal(tensor, adapter_tensors(model, "one")[name].bfloat16().float())


CONFIG_LIES: list[tuple[dict[str, Any], str]] = [
    ({"peft_type": "IA3"}, "peft_type = 'IA3'; expected 'LORA'"),
    ({"use_dora": True}, "use_dora = True; expected plain LoRA"),
    ({"bias": "all"}, "bias = 'all'"),
    ({"lora_bias": True}, "lora_bias"),
    ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    ({"rank_pattern": {"q_proj": 8}}, "rank_pattern"),
    ({"alpha_pattern": {"q_proj": 8}}, "alpha_pattern"),
    ({"layers_to_transform": [0]}, "layers_to_transform"),
    ({"init_lora_weights": "pissa"}, "init_lora_weights = 'pissa'"),
    ({"task_type": "SEQ_CLS"}, "task_type"),
    ({"fan_in_fan_out": True}, "fan_in_fan_out"),
    ({"invented_later": {"a": 1}}, "invented_later"),
    ({"use_rslora": "yes"}, "use_rslora"),
    ({"r": 0}, "rank 0"),
    ({"r": True}, "rank True"),
    ({"r": 8}, r"is \[4, 32\]; expected \[8, 32\]"),
    ({"r": 10**30}, "rank 1000000"),
    ({"lora_alpha": "8"}, "alpha '8'"),
    ({"lora_alpha": float("nan")}, "alpha nan"),
    ({"lora_alpha": 10**400}, "alpha 1000000"),
    ({"target_modules": ["q_proj", "lm_head"]}, "the target module 'lm_head'"),
    ({"target_modules": [7]}, "the target module 7"),
    ({"target_modules": []}, "a list of modules' names"),
    ({"target_modules": ".*q_proj"}, "a list of modules' names"),
    ({"target_modules": ["q_proj", "k_proj"]}, "k_proj.lora_A.weight is absent"),
    ({"target_modules": ["model.layers.0.self_attn.q_proj"]}, "different target modules"),
]


@pytest.mark.parametrize(("lie", "message"), CONFIG_LIES)
def test_a_config_that_is_not_plain_lora_is_refused(
    tmp_path: Path, lie: dict[str, Any], message: str
) -> None:
    save_adapter(tmp_path, adapted(targets=["query"]), "one", "some-base")
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | lie))
    refused(tmp_path, message)


def test_missing_fields_and_files_are_refused(tmp_path: Path) -> None:
    save_adapter(tmp_path, adapted(), "one", "some-base")
    path = tmp_path / "adapter_config.json"
    config = json.loads(path.read_text())
    for name in ("peft_type", "r", "lora_alpha", "target_modules"):
        path.write_text(json.dumps({key: one for key, one in config.items() if key != name}))
        refused(tmp_path, "fields missing")
    path.write_text("[]")
    refused(tmp_path, "holds no object")
    path.unlink()
    with pytest.raises(InputError, match="does not exist"):
        load_adapter(tmp_path, build_decoder(CONFIG, 1), "one")


def _drop(tensors: dict[str, torch.Tensor]) -> None:
    tensors.pop(sorted(tensors)[0])


def _add(tensors: dict[str, torch.Tensor]) -> None:
    tensors["base_model.model.lm_head.lora_A.weight"] = torch.ones(4, 32)


def _turn(tensors: dict[str, torch.Tensor]) -> None:
    name = sorted(tensors)[0]
    tensors[name] = tensors[name].T.contiguous()


def _whole(tensors: dict[str, torch.Tensor]) -> None:
    name = sorted(tensors)[0]
    tensors[name] = tensors[name].to(torch.int32)


def _infinite(tensors: dict[str, torch.Tensor]) -> None:
    tensors[sorted(tensors)[0]][0, 0] = float("inf")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_drop, "is absent"),
        (_add, "expected absent"),
        (_turn, r"is \[64, 4\]; expected \[4, 64\]"),
        (_whole, "of type I32"),
        (_infinite, "not finite"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    tmp_path: Path, damage: Callable[[dict[str, torch.Tensor]], None], message: str
) -> None:
    save_adapter(tmp_path, adapted(), "one", "some-base")
    path = tmp_path / "adapter_model.safetensors"
    tensors = {name: one.clone() for name, one in load_file(path).items()}
    damage(tensors)
    save_file(tensors, path)
    refused(tmp_path, message)


def refused(folder: Path, message: str) -> None:
    """The folder is refused, and the model that it was meant for stays plain."""
    model = build_decoder(CONFIG, seed=5)
    with pytest.raises(FormatError, match=message):
        load_adapter(folder, model, "one")
    assert not adapters(model)
    assert len(trained_names(model)) == len(list(model.parameters()))
