"""A model on disk: `model.safetensors` and `config.json`, and the hash that names its weights.

In: a model or a folder. Out: the same model back, bit for bit, or a refusal before any weight is
allocated. This module does not know tokenizers, and reads no other container than safetensors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from noria.artifacts import atomic_write
from noria.containers.safetensors import read_safetensors_header
from noria.errors import FormatError, InputError, UsageError
from noria.model.adapted import AdaptedLinear
from noria.model.config import ModelConfig
from noria.model.headed import HeadedModel, empty_headed_model
from noria.model.heads import HeadConfig
from noria.model.quantized import QUANTIZATIONS, to_int8
from noria.model.transformer import Decoder, Transformer, empty_model, fill_model

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
DTYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def weight_hash(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) of names, types, shapes and raw bytes, in the order of the names.

    It does not depend on the container: safetensors, memory or an export give the same hash.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        shape = ",".join(str(size) for size in tensor.shape)
        digest.update(f"{name}\0{DTYPE_NAMES[tensor.dtype]}\0{shape}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def model_weight_hash(model: nn.Module) -> str:
    """The weight hash of a model in memory."""
    return weight_hash(model.state_dict())


def save_model(folder: Path, model: Transformer | HeadedModel) -> None:
    """Write a model's weights and config into a folder, each file whole or not at all.

    Raises UsageError for a model that carries adapters: merge one, or store it by itself.
    """
    if any(isinstance(module, AdaptedLinear) for module in model.modules()):
        raise UsageError("a model that carries adapters", "a plain one", "merge an adapter first")
    tensors = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    value = {**model.config.to_json(), "quantization": model.quantization}
    if isinstance(model, HeadedModel):
        value["head"] = asdict(model.head_config)
    atomic_write(folder / WEIGHTS_FILE, save(tensors, metadata={"format": "pt"}))
    atomic_write(folder / CONFIG_FILE, (json.dumps(value, indent=1) + "\n").encode("utf-8"))


def load_decoder(folder: Path) -> Decoder:
    """As `load_model`. Raises FormatError too if the model is of another family."""
    config, _ = read_config(folder)
    if config.family != "decoder":
        raise FormatError(
            f"{folder}: a model of family {config.family!r}",
            "a decoder",
            "choose a model that continues text",
        )
    model = load_model(folder)
    assert isinstance(model, Decoder)
    return model


def load_model(folder: Path) -> Transformer:
    """Read a model back, in evaluation mode.

    Raises InputError if a file is missing, FormatError if the config is not one of ours, the
    weights are not those that it asks for, or the model has a head.
    """
    config, quantization, head_config = _read_parts(folder)
    if head_config is not None:
        raise FormatError(
            f"{folder}: a model with a head of kind {head_config.kind!r}",
            "a model without",
            "choose a model that was not trained for this one use",
        )
    model = empty_model(config)
    if quantization is not None:
        to_int8(model, quantization)
    return fill_model(model, _read_tensors(folder, model)).eval()


def load_headed_model(folder: Path) -> HeadedModel:
    """As `load_model`, of a model with a head. Raises FormatError too if it has none."""
    config, quantization, head_config = _read_parts(folder)
    if head_config is None:
        raise FormatError(f"{folder}: a model without a head", "one with", "train a head first")
    try:
        model = empty_headed_model(config, head_config)
    except UsageError as error:
        raise FormatError(f"{folder}: {error.given}", error.expected, error.fix) from error
    if quantization is not None:
        to_int8(model.body, quantization)
    model.load_state_dict(_read_tensors(folder, model), strict=True, assign=True)
    return model.eval()


def read_config(folder: Path) -> tuple[ModelConfig, str | None]:
    """A model folder's config and how its weights are quantized. Raises as `load_model` does."""
    config, quantization, _ = _read_parts(folder)
    return config, quantization


def _read_parts(folder: Path) -> tuple[ModelConfig, str | None, HeadConfig | None]:
    path = folder / CONFIG_FILE
    value = read_json_object(path)
    quantization = value.pop("quantization", None)
    if quantization not in QUANTIZATIONS:
        raise FormatError(
            f"{path}: quantization {quantization!r}",
            "null or 'int8'",
            "use the version of Noria that wrote it",
        )
    head = value.pop("head", None)
    return ModelConfig.from_json(value), quantization, None if head is None else _head(path, head)


def _head(path: Path, value: Any) -> HeadConfig:
    names = {one.name for one in fields(HeadConfig)}
    if not isinstance(value, dict) or set(value) != names:
        raise FormatError(
            f"{path}: the head {value!r}",
            f"an object with {', '.join(sorted(names))}",
            "use the version of Noria that wrote it",
        )
    try:
        return HeadConfig(**value)
    except UsageError as error:
        raise FormatError(f"{path}: {error.given}", error.expected, error.fix) from error


def _read_tensors(folder: Path, model: nn.Module) -> dict[str, Tensor]:
    """Those of an empty model. Cloned: the file is mapped, and a model must not change with it."""
    check_tensors(folder / WEIGHTS_FILE, model)
    return {name: tensor.clone() for name, tensor in load_file(folder / WEIGHTS_FILE).items()}


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds one object. Raises InputError or FormatError naming it."""
    if not path.is_file():
        raise InputError(f"{path} does not exist", "a model folder", "check the path")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} can't be read ({error})", "JSON", "fetch it again") from error
    if not isinstance(value, dict):
        raise FormatError(f"{path} holds no object", "a JSON object", "fetch it again")
    return value


def check_tensors(path: Path, model: nn.Module) -> None:
    """Compare a weight file's names, types and shapes with a model's, from its header alone.

    Raises FormatError naming the first tensor that is missing, unknown or different.
    """
    found = {
        name: (entry.dtype, entry.shape) for name, entry in read_safetensors_header(path).items()
    }
    wanted = {
        name: (DTYPE_NAMES[tensor.dtype], tuple(tensor.shape))
        for name, tensor in model.state_dict().items()
    }
    for name in sorted(found.keys() | wanted.keys()):
        if found.get(name) != wanted.get(name):
            raise FormatError(
                f"{path}: tensor {name} is {_shown(found.get(name))}",
                f"{_shown(wanted.get(name))}, as {CONFIG_FILE} says",
                "keep a model's files together, or train it again",
            )


def _shown(entry: tuple[str, tuple[int, ...]] | None) -> str:
    return "absent" if entry is None else f"{entry[0]} {list(entry[1])}"
