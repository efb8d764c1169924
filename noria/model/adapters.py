"""Low-rank adapters over one frozen decoder (LoRA, Hu et al. 2021): added, chosen, merged, stored.

In: a float decoder and settings, or a folder in PEFT's layout. Out: the same decoder, in which
the acting adapter alone trains; or a plain decoder with an adapter merged into its weights.
This module does not know what an adapter is trained on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save
from torch import Tensor, nn

from noria.artifacts import atomic_write
from noria.containers.safetensors import read_safetensors_header
from noria.errors import FormatError, UnknownName, UsageError
from noria.model.adapted import AdaptedLinear, AdapterShape, LowRank, fresh_update
from noria.model.layouts.peft import (
    ADAPTER_CONFIG_FILE,
    ADAPTER_WEIGHTS_FILE,
    adapted_paths,
    peft_names,
    shape_from_peft,
    to_peft,
)
from noria.model.quantized import Int8Embedding, Int8Linear
from noria.model.transformer import Decoder, empty_decoder, fill_model
from noria.model.weights import read_json_object

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_FLOATS = ("F32", "BF16", "F16")


def add_adapter(
    model: Decoder, name: str, rank: int, alpha: float, targets: Iterable[str], seed: int
) -> None:
    """Add an adapter that changes no output yet, let it act, and freeze everything else.

    targets: names out of query, key, value, output, gate, up, down, in every block.
    Raises UsageError for settings that make no adapter, a name that is taken, an int8 model.
    """
    shape = AdapterShape(rank, alpha, frozenset(targets))
    _check_name(model, name)
    generator = torch.Generator().manual_seed(seed)
    paths = adapted_paths(model.config, shape.targets)
    _attach(model, name, {p: fresh_update(_weight(model, p), shape, generator) for p in paths})


def adapters(model: Decoder) -> dict[str, AdapterShape]:
    """The adapters that a model carries: shapes by name."""
    return {
        name: update.shape
        for layer in _layers(model).values()
        for name in layer.names()
        if (update := layer.find(name)) is not None
    }


def use_adapter(model: Decoder, name: str | None) -> None:
    """Let one adapter act, or with None the base alone; only what acts can be trained.

    Raises UnknownName if the model carries no adapter of that name.
    """
    if name is not None:
        updates_of(model, name)
    for layer in _layers(model).values():
        layer.use(name)


def remove_adapter(model: Decoder, name: str) -> None:
    """Forget an adapter; without the last one the model is plain again, and its weights train.

    Raises UnknownName if the model carries no adapter of that name.
    """
    for path in updates_of(model, name):
        layer = _layers(model)[path]
        layer.remove(name)
        if not layer.names():
            _replace(model, path, layer.plain())
    if not adapters(model):
        model.requires_grad_(True)


def adapter_tensors(model: Decoder, name: str) -> dict[str, Tensor]:
    """An adapter's matrices, `<layer>.lora_a` (R, I) and `<layer>.lora_b` (O, R), not copied.

    Raises UnknownName if the model carries no adapter of that name.
    """
    return {
        f"{path}.{matrix}": tensor.detach()
        for path, update in updates_of(model, name).items()
        for matrix, tensor in update.named_parameters()
    }


def fill_adapter(model: Decoder, name: str, tensors: Mapping[str, Tensor]) -> None:
    """Overwrite an adapter's matrices.

    Raises UnknownName if there is no such adapter, FormatError, before any change, if names or
    shapes of the tensors are not the adapter's.
    """
    own = adapter_tensors(model, name)
    _compare(
        f"tensors for the adapter {name}",
        {key: tuple(tensor.shape) for key, tensor in tensors.items()},
        {key: tuple(tensor.shape) for key, tensor in own.items()},
    )
    for key, tensor in tensors.items():
        own[key].copy_(tensor)


def merged(model: Decoder, name: str) -> Decoder:
    """A plain float decoder with weight + alpha / rank · B · A, summed in float64.

    It shares no memory; int8 weights are what they stand for, as they were while the adapter
    trained. Raises UnknownName if the model carries no adapter of that name.
    """
    plain = empty_decoder(model.config)
    tensors = {key: tensor.clone() for key, tensor in float_tensors(model, name)}
    return fill_model(plain, tensors).to(model.embedding.weight.device).eval()


def float_tensors(model: Decoder, name: str | None) -> Iterator[tuple[str, Float[Tensor, ...]]]:
    """The tensors of `merged`, one by one; with None those of the base alone.

    What no adapter changes and is float is the model's own. Raises UnknownName as `merged`.
    """
    updates = {} if name is None else updates_of(model, name)
    for key in empty_decoder(model.config).state_dict():
        weight = _floats(model, key)
        update = updates.get(key.removesuffix(".weight"))
        if update is not None:
            weight = (weight.double() + update.product()).to(weight.dtype)
        yield key, weight


def save_adapter(folder: Path, model: Decoder, name: str, base_name: str) -> None:
    """Write an adapter as PEFT's two files, each whole or not at all.

    base_name tells PEFT's users which model it belongs to. Raises UnknownName.
    """
    shape = next(iter(updates_of(model, name).values())).shape
    tensors = {key: one.cpu().contiguous() for key, one in adapter_tensors(model, name).items()}
    config, renamed = to_peft(model.config, shape, tensors, base_name)
    text = json.dumps(config, indent=1, ensure_ascii=False) + "\n"
    atomic_write(folder / ADAPTER_WEIGHTS_FILE, save(renamed, metadata={"format": "pt"}))
    atomic_write(folder / ADAPTER_CONFIG_FILE, text.encode("utf-8"))


def load_adapter(folder: Path, model: Decoder, name: str) -> None:
    """Add the adapter of a folder in PEFT's layout, and let it act.

    The model stays as it was if that fails. Raises InputError if a file is missing, FormatError if
    the adapter is not plain LoRA or not for a model of this shape, UsageError as `add_adapter`.
    """
    _check_name(model, name)
    shape = shape_from_peft(model.config, read_json_object(folder / ADAPTER_CONFIG_FILE))
    tensors = _read_tensors(folder / ADAPTER_WEIGHTS_FILE, model, shape)
    device = model.embedding.weight.device
    updates = {}
    for path in adapted_paths(model.config, shape.targets):
        matrices = [tensors[f"{path}.{matrix}"].to(device) for matrix in ("lora_a", "lora_b")]
        updates[path] = LowRank(matrices[0], matrices[1], shape)
    _attach(model, name, updates)


def _read_tensors(path: Path, model: Decoder, shape: AdapterShape) -> dict[str, Tensor]:
    """An adapter's tensors under our names, float32; the header is checked before any is read."""
    header = read_safetensors_header(path)
    names = peft_names(model.config, shape.targets)
    wanted = {}
    for place in adapted_paths(model.config, shape.targets):
        rows, columns = _weight(model, place).shape
        wanted[names[f"{place}.lora_a"]] = (shape.rank, columns)
        wanted[names[f"{place}.lora_b"]] = (rows, shape.rank)
    _compare(str(path), {key: entry.shape for key, entry in header.items()}, wanted)
    for key, entry in header.items():
        if entry.dtype not in _FLOATS:
            raise _refuse(f"{path}: {key} of type {entry.dtype}", " or ".join(_FLOATS))
    loaded = load_file(path)
    tensors = {ours: loaded[theirs].float().clone() for ours, theirs in names.items()}
    for key, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise _refuse(f"{path}: {key} has values that are not finite", "numbers")
    return tensors


def _compare(
    where: str, found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]]
) -> None:
    for key in sorted(found.keys() | wanted.keys()):
        if found.get(key) != wanted.get(key):
            shapes = [str(list(one[key])) if key in one else "absent" for one in (found, wanted)]
            raise _refuse(f"{where}: {key} is {shapes[0]}", shapes[1])


def _check_name(model: Decoder, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"an adapter named {name!r}", "1 to 64 letters, digits, - and _", "choose another name"
        )
    if name in adapters(model):
        raise UsageError(f"a second adapter named {name!r}", "a new name", "remove the first one")


def _attach(model: Decoder, name: str, updates: Mapping[str, LowRank]) -> None:
    model.requires_grad_(False)
    for path in updates:
        layer = model.get_submodule(path)
        if isinstance(layer, nn.Linear | Int8Linear):
            _replace(model, path, AdaptedLinear(layer))
    layers = _layers(model)
    for path, update in updates.items():
        layers[path].add(name, update)
    use_adapter(model, name)


def _replace(model: Decoder, path: str, layer: nn.Module) -> None:
    parent, _, attribute = path.rpartition(".")
    setattr(model.get_submodule(parent), attribute, layer)


def _weight(model: Decoder, path: str) -> Tensor:
    weight: Tensor = model.get_submodule(path).weight  # type: ignore[assignment]
    return weight


def _floats(model: Decoder, key: str) -> Tensor:
    """A tensor of a model by its name; of int8 layers, what it stands for."""
    path, _, field = key.rpartition(".")
    layer = model.get_submodule(path)
    if field == "weight" and isinstance(layer, AdaptedLinear | Int8Linear | Int8Embedding):
        return layer.floats().detach()
    tensor: Tensor = model.state_dict()[key]
    return tensor.detach()


def _layers(model: Decoder) -> dict[str, AdaptedLinear]:
    return {path: one for path, one in model.named_modules() if isinstance(one, AdaptedLinear)}


def updates_of(model: Decoder, name: str) -> dict[str, LowRank]:
    """An adapter's updates by the path of their layer. Raises UnknownName."""
    found = {path: layer.find(name) for path, layer in _layers(model).items()}
    updates = {path: update for path, update in found.items() if update is not None}
    if not updates:
        known = ", ".join(sorted(adapters(model))) or "none"
        raise UnknownName(f"no adapter named {name!r}", f"one of: {known}", "add or load it first")
    return updates


def _refuse(given: str, expected: str) -> FormatError:
    return FormatError(given, expected, "use a plain LoRA adapter of this model")
