"""The layout of a LoRA adapter in PEFT's files, over a Llama in Hugging Face's layout.

In: an adapter's shape and tensors, or PEFT's config. Out: the other's. The semantics are equal, so
only names change. Whatever computes something else than plain LoRA (DoRA, biases, retrained
modules, ranks that differ by layer) is refused. This module does not know files.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

from torch import Tensor

from noria.errors import FormatError, UsageError
from noria.model.adapted import TARGETS, AdapterShape
from noria.model.config import ModelConfig
from noria.model.layouts.llama import llama_names

ADAPTER_CONFIG_FILE = "adapter_config.json"
ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors"
_MATRICES = {"lora_a": "lora_A.weight", "lora_b": "lora_B.weight"}
_PREFIX = "base_model.model."
# What does not change the numbers of a trained adapter: where it came from, how it was trained.
_WITHOUT_EFFECT = {
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
}
_READ = {"r", "lora_alpha", "use_rslora", "target_modules"}
_ALLOWED: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "task_type": (None, "CAUSAL_LM"),
    "bias": ("none",),
    # Others (PiSSA, OLoRA, LoftQ, …) start from a base whose weights they have changed.
    "init_lora_weights": (True, False, "gaussian"),
}
_OFF: tuple[Any, ...] = (None, False, {}, [])


def adapted_paths(config: ModelConfig, targets: frozenset[str]) -> list[str]:
    """Our names of the layers that an adapter changes, in order."""
    places = [place for target, place in TARGETS.items() if target in targets]
    return [f"blocks.{layer}.{place}" for layer in range(config.num_layers) for place in places]


def peft_names(config: ModelConfig, targets: frozenset[str]) -> dict[str, str]:
    """Our name of each tensor of an adapter, with PEFT's."""
    modules = _modules(config)
    return {
        f"{path}.{ours}": f"{_PREFIX}{modules[path]}.{theirs}"
        for path in adapted_paths(config, targets)
        for ours, theirs in _MATRICES.items()
    }


def to_peft(
    config: ModelConfig, shape: AdapterShape, tensors: Mapping[str, Tensor], base_name: str
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """An adapter as PEFT's adapter_config.json and tensors; base_name says what it belongs to."""
    modules = _modules(config)
    suffixes = {modules[f"blocks.0.{TARGETS[one]}"].rpartition(".")[2] for one in shape.targets}
    peft_config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "r": shape.rank,
        "lora_alpha": int(shape.alpha) if shape.alpha == int(shape.alpha) else shape.alpha,
        "lora_dropout": 0.0,
        "target_modules": sorted(suffixes),
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "inference_mode": True,
        "modules_to_save": None,
        "use_dora": False,
        "use_rslora": False,
    }
    names = peft_names(config, shape.targets)
    return peft_config, {names[name]: tensor for name, tensor in tensors.items()}


def shape_from_peft(config: ModelConfig, peft_config: Mapping[str, Any]) -> AdapterShape:
    """The shape that PEFT's adapter_config.json describes, over a model of this config.

    Raises FormatError for whatever we would compute differently or not at all.
    """
    for name, allowed in _ALLOWED.items():
        if name in peft_config and peft_config[name] not in allowed:
            raise _refuse(f"{name} = {peft_config[name]!r}", " or ".join(map(repr, allowed)))
    for name in sorted(peft_config.keys() - _WITHOUT_EFFECT - _READ - _ALLOWED.keys()):
        if peft_config[name] not in _OFF:
            raise _refuse(f"{name} = {peft_config[name]!r}", "plain LoRA without it")
    if "peft_type" not in peft_config or not _READ - {"use_rslora"} <= peft_config.keys():
        raise _refuse("fields missing", "peft_type, r, lora_alpha, target_modules")
    rank, alpha, stabilised = (peft_config.get(k) for k in ("r", "lora_alpha", "use_rslora"))
    if stabilised not in (None, False, True):
        raise _refuse(f"use_rslora = {stabilised!r}", "true or false")
    targets = _targets(config, peft_config["target_modules"])
    try:
        shape = AdapterShape(rank, alpha, targets)  # type: ignore[arg-type]
        if stabilised:  # alpha / sqrt(rank) (Kalajdzievski 2023), said as alpha / rank
            shape = AdapterShape(shape.rank, shape.alpha * sqrt(shape.rank), targets)
    except UsageError as error:
        raise FormatError(error.given, error.expected, error.fix) from error
    return shape


def _targets(config: ModelConfig, target_modules: Any) -> frozenset[str]:
    """The targets that PEFT's list picks: an entry is a module's name or the end of one."""
    if target_modules == "all-linear":
        return frozenset(TARGETS)
    if not isinstance(target_modules, list) or not target_modules:
        raise _refuse(f"target_modules = {target_modules!r}", "a list of modules' names")
    by_ending: dict[str, set[str]] = {}
    for path, module in _modules(config).items():
        words = module.split(".")
        for start in range(len(words)):
            by_ending.setdefault(".".join(words[start:]), set()).add(path)
    found: set[str] = set()
    for entry in target_modules:
        if not isinstance(entry, str) or entry not in by_ending:
            raise _refuse(f"the target module {entry!r}", "linear layers of a Llama's blocks")
        found |= by_ending[entry]
    targets = frozenset(one for one, place in TARGETS.items() if f"blocks.0.{place}" in found)
    if found != set(adapted_paths(config, targets)):
        raise _refuse("different target modules in each layer", "the same ones in every layer")
    return targets


def _modules(config: ModelConfig) -> dict[str, str]:
    """Our name of each layer that can be adapted, with Hugging Face's."""
    names = llama_names(config)
    return {
        path: names[f"{path}.weight"].removesuffix(".weight")
        for path in adapted_paths(config, frozenset(TARGETS))
    }


def _refuse(given: str, expected: str) -> FormatError:
    return FormatError(f"an adapter with {given}", expected, "use a plain LoRA adapter")
