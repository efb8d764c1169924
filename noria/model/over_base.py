"""A model that is a base plus an adapter: on disk, and in memory beside others over the same base.

In: a model folder that holds merged weights and, in `adapter/`, the adapter and which base it is
of. Out: a decoder that shares the base's tensors and adds the adapter, after a proof that this is,
to rounding, the model whose weights are in the folder.
This module does not know tokenizers or registries.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from noria.artifacts import atomic_write
from noria.errors import FormatError, IntegrityError
from noria.model.adapters import float_tensors, load_adapter, save_adapter
from noria.model.quantized import QUANTIZATIONS, to_int8
from noria.model.transformer import Decoder, empty_decoder, fill_model
from noria.model.weights import (
    WEIGHTS_FILE,
    check_tensors,
    load_decoder,
    read_json_object,
    weight_hash,
)

ADAPTER_NAME = "tuned"
ADAPTER_FOLDER = "adapter"
BASE_FILE = "base.json"
# Merged in float64 and rounded once; a machine that sums in another order may round another way.
ROUNDING = 2.0**-22  # of a tensor's largest number: two units in the last place of float32


@dataclass(frozen=True)
class BaseReference:
    """Which base an adapter belongs to.

    folder: as seen from the model's folder. quantization: of the base while the adapter trained,
    None or as `to_int8` has it. weight_hash: of the floats that it then stood for.
    """

    folder: str
    quantization: str | None
    weight_hash: str


def save_over_base(out: Path, model: Decoder, base: Path, base_name: str) -> None:
    """Write the adapter of a model that trained over the base in that folder, and which it is."""
    path = os.path.relpath(base.resolve(), out.resolve())
    hashed = weight_hash(dict(float_tensors(model, None)))
    reference = BaseReference(path, model.quantization, hashed)
    save_adapter(out / ADAPTER_FOLDER, model, ADAPTER_NAME, base_name)
    text = json.dumps(asdict(reference), indent=1) + "\n"
    atomic_write(out / ADAPTER_FOLDER / BASE_FILE, text.encode("utf-8"))


def base_reference(folder: Path) -> BaseReference | None:
    """Which base a model folder's adapter is of; None if it has none, or does not say.

    Raises FormatError for a file that is not as written here.
    """
    path = folder / ADAPTER_FOLDER / BASE_FILE
    if not path.is_file():
        return None
    value = read_json_object(path)
    names = [one.name for one in fields(BaseReference)]
    known = set(value) == set(names) and value["quantization"] in QUANTIZATIONS
    if not known or not all(isinstance(value[one], str) for one in ("folder", "weight_hash")):
        raise FormatError(
            f"{path}: {value!r}", f"an object with {', '.join(names)}", "train the adapter again"
        )
    return BaseReference(**value)


def load_base(folder: Path, reference: BaseReference) -> Decoder:
    """The float base of the model in that folder. Raises IntegrityError if it is another now."""
    path = (folder / reference.folder).resolve()
    base = load_decoder(path)
    if reference.quantization is not None:
        base = to_int8(base, reference.quantization)
    if base.quantization is not None:
        tensors = dict(float_tensors(base, None))
        base = fill_model(empty_decoder(base.config), tensors).eval()
    found = weight_hash(base.state_dict())
    if found != reference.weight_hash:
        raise IntegrityError(
            f"{path} holds weights {found[:12]}",
            f"{reference.weight_hash[:12]}, the base of {folder}",
            "restore the base's folder",
        )
    return base.requires_grad_(False)


def load_over_base(folder: Path, base: Decoder) -> tuple[Decoder, str]:
    """The folder's model over a base in memory, whose tensors it shares; and its weight hash.

    The hash is that of the folder's merged weights, which are read once, tensor by tensor, and not
    kept. Raises IntegrityError if they are not base and adapter to rounding, and as `load_adapter`.
    """
    model = sharing(base)
    check_tensors(folder / WEIGHTS_FILE, model)
    load_adapter(folder / ADAPTER_FOLDER, model, ADAPTER_NAME)
    stored = _StoredTensors(folder / WEIGHTS_FILE)
    for key, ours in float_tensors(model, ADAPTER_NAME):
        theirs = stored[key]
        within = ROUNDING * float(theirs.abs().max())
        if not float((ours - theirs).abs().max()) <= within:  # no number is not within either
            raise IntegrityError(
                f"{folder}: {key} is not the base's plus the adapter's",
                "merged weights of the adapter that lies beside them",
                "restore the folder, or train again",
            )
    return model.requires_grad_(False), weight_hash(stored)


def sharing(model: Decoder) -> Decoder:
    """A second decoder of the same tensors, whose layers can be replaced without the first's."""
    other = empty_decoder(model.config)
    if model.quantization is not None:
        to_int8(other, model.quantization)
    fill_model(other, model.state_dict())
    return other.to(model.embedding.weight.device).requires_grad_(False).eval()


class _StoredTensors(Mapping[str, Tensor]):
    """The tensors of a file, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with safe_open(path, framework="pt") as file:
            self._names = list(file.keys())

    def __getitem__(self, name: str) -> Tensor:
        with safe_open(self._path, framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
