"""A folder in Hugging Face's layout, read as a model of ours.

In: a folder with config.json and safetensors files, one or many, float32, float16 or bfloat16.
Out: a float32 model of the family that its layout says, and its head. Names, types and shapes are
compared with the config from the files' headers, before any weight is read. Pickle (`.bin`, `.pt`)
is never opened.
This module does not know tokenizers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from noria.containers.safetensors import TensorEntry, read_safetensors_header
from noria.errors import FormatError, InputError
from noria.model.config import ModelConfig
from noria.model.heads import Head, build_head
from noria.model.layouts.catalogue import Layout, layout_of
from noria.model.stack import Stack
from noria.model.transformer import Decoder, Transformer, empty_model, fill_model
from noria.model.weights import CONFIG_FILE, WEIGHTS_FILE, read_json_object

INDEX_FILE = "model.safetensors.index.json"
MAX_SHARDS = 10_000
_FLOATS = ("F32", "F16", "BF16")
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def read_huggingface(folder: Path) -> Transformer:
    """Read a folder of any of our layouts into a model of ours, without writing anything.

    A head of its own is left out: see `read_huggingface_head`. Raises InputError if a file is
    missing, FormatError if we would compute the model differently, its shards and index do not
    agree, or its weights are there as pickle only.
    """
    return read_huggingface_head(folder)[0]


def read_huggingface_head(folder: Path) -> tuple[Transformer, Head | None]:
    """As `read_huggingface`, with the head that the layout has beside the body, if any."""
    hf_config = read_json_object(folder / CONFIG_FILE)
    layout = layout_of(hf_config)
    files = weight_files(folder)
    entries = _checked_entries(folder, files, layout)
    layout.check(hf_config, {name: entry.shape for name, entry in entries.items()})
    tensors: dict[str, Tensor] = {}
    for file in files:
        # Copied: the file is mapped, and a model must not change when its file does.
        for name, tensor in load_file(file).items():
            if not name.endswith(layout.computed):
                tensors[name] = tensor.to(torch.float32, copy=True)
    config, renamed, head_config, head_tensors = layout.read(hf_config, tensors)
    model = fill_model(empty_model(config), renamed).eval()
    if head_config is None:
        return model, None
    assert isinstance(model, Stack)
    head = build_head(model, head_config)
    head.load_state_dict(head_tensors, strict=True)
    return model, head.eval()


def read_huggingface_decoder(folder: Path) -> Decoder:
    """As `read_huggingface`. Raises FormatError too if the model is of another family."""
    decoder_config(folder)
    model = read_huggingface(folder)
    assert isinstance(model, Decoder)
    return model


def decoder_config(folder: Path) -> ModelConfig:
    """The config of a folder, as ours, from its config.json alone.

    Raises FormatError for a config that we would compute differently, or one of another family.
    """
    hf_config = read_json_object(folder / CONFIG_FILE)
    config = layout_of(hf_config).config(hf_config)
    if config.family != "decoder":
        raise FormatError(
            f"{folder}: a {hf_config['model_type']}, a model of family {config.family!r}",
            "a decoder",
            "choose a model that continues text",
        )
    return config


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder: the single one, or those of its index, in order.

    Raises InputError if there is none, FormatError for an index that names other things than
    files beside it, or a folder whose weights are pickled.
    """
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    if (folder / INDEX_FILE).is_file():
        return [folder / name for name in sorted(set(_weight_map(folder).values()))]
    pickled = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
    if pickled:
        raise FormatError(
            f"{folder} holds its weights as pickle ({pickled[0]}), which can run code when read",
            f"{WEIGHTS_FILE} or {INDEX_FILE}",
            "fetch the model's safetensors files, or convert it where it is trusted",
        )
    raise InputError(
        f"{folder} holds no weights", f"{WEIGHTS_FILE} or {INDEX_FILE}", "check the path"
    )


def _weight_map(folder: Path) -> dict[str, str]:
    """The index: each tensor's name with its file's, which must be a plain name."""
    path = folder / INDEX_FILE
    found: Any = read_json_object(path).get("weight_map")
    if not isinstance(found, dict) or not found:
        raise _refuse(f"{path} without a weight_map", "names of tensors with their files")
    for name in found.values():
        plain = isinstance(name, str) and name.endswith(".safetensors") and len(name) < 256
        if not plain or any(character in name for character in "/\\\0"):
            raise _refuse(f"{path} naming the file {name!r}", "safetensors files beside it")
    if len(set(found.values())) > MAX_SHARDS:
        raise _refuse(f"{path} naming more than {MAX_SHARDS} files", "fewer")
    return found


def _checked_entries(folder: Path, files: list[Path], layout: Layout) -> dict[str, TensorEntry]:
    """Every tensor's entry, from all headers; they must agree with the index and be floats.

    What the layout computes by itself may be of any type: masks and numbers of places are.
    """
    entries: dict[str, TensorEntry] = {}
    place: dict[str, str] = {}
    for file in files:
        for name, entry in read_safetensors_header(file).items():
            if name in entries:
                raise _refuse(f"{folder} with tensor {name} in two files", "each tensor once")
            if entry.dtype not in _FLOATS and not name.endswith(layout.computed):
                raise _refuse(f"{file}: tensor {name} of {entry.dtype}", "one of " + _shown())
            entries[name], place[name] = entry, file.name
    if files[0].name != WEIGHTS_FILE:
        _check_index(folder, _weight_map(folder), place)
    return entries


def _check_index(folder: Path, index: Mapping[str, str], place: Mapping[str, str]) -> None:
    for name in sorted(index.keys() | place.keys()):
        if index.get(name) != place.get(name):
            raise _refuse(
                f"{folder / INDEX_FILE}: tensor {name} lies in {place.get(name, 'no file')}",
                f"{index.get(name, 'no such tensor')}",
            )


def _shown() -> str:
    return ", ".join(_FLOATS)


def _refuse(given: str, expected: str) -> FormatError:
    return FormatError(given, expected, "fetch the model again")
