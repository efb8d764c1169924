"""Training state in, folders on disk out, and back; whole or not at all, digests checked.

    <folder>/best/weights.safetensors             of the best point of the held-out curve
    <folder>/step-00000120/weights.safetensors    parameters that train, by name
                          /average.safetensors    their running mean, where there is one
                          /optimizer.safetensors  <parameter>.exp_avg, .momentum_buffer, …
                          /state.json             step, losses, digests of the two files and of
                                                  the frozen parameters

Randomness and data position need no file: both are functions of the step number. Frozen parameters
(the base under an adapter) do not change, so that their digest is enough.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file

from noria.artifacts import atomic_folder, atomic_write, file_digest
from noria.errors import TrainingError
from noria.model.weights import weight_hash
from noria.train.optim import Optimizer
from noria.train.parallel import ALONE, Team, placed_as, whole

CHECKPOINT_FORMAT = 2
READABLE_FORMATS = (1, 2)  # 1 had no frozen parameters
KEEP_LAST = 2
BEST_FILE = "best/weights.safetensors"


@dataclass(frozen=True)
class Progress:
    """How far training is: steps done, the loss log so far, the running mean of the weights."""

    step: int
    losses: tuple[dict[str, Any], ...]
    average: dict[str, torch.Tensor] | None = None


def frozen_digest(model: torch.nn.Module) -> str:
    """The hash of the parameters that do not train, "" if all do; once a run, for it reads them."""
    trained = _trained(model)
    frozen = {name: one for name, one in model.state_dict().items() if name not in trained}
    return weight_hash(frozen) if frozen else ""


def save_checkpoint(
    folder: Path,
    model: torch.nn.Module,
    optimizer: Optimizer,
    step: int,
    losses: Sequence[dict[str, Any]],
    frozen: str,
    average: dict[str, torch.Tensor] | None = None,
    team: Team = ALONE,
) -> Path:
    """Write `<folder>/step-<step>`, then drop all but the last two. frozen: `frozen_digest`.

    Every process of a team has to call it; the first one writes.
    """
    path = folder / f"step-{step:08d}"
    files = {
        "weights.safetensors": _trained_tensors(model),
        "optimizer.safetensors": _optimizer_tensors(model, optimizer),
    }
    if average is not None:
        files["average.safetensors"] = {name: whole(one).cpu() for name, one in average.items()}
    if team.is_first:
        _write(path, files, step, losses, frozen)
        for old in _steps(folder)[KEEP_LAST:]:
            shutil.rmtree(old, ignore_errors=True)
    team.wait()
    return path


def _write(
    path: Path,
    files: Mapping[str, dict[str, torch.Tensor]],
    step: int,
    losses: Sequence[dict[str, Any]],
    frozen: str,
) -> None:
    with atomic_folder(path) as temporary:
        for name, tensors in files.items():
            _save_tensors(temporary / name, tensors)
        state = {
            "checkpoint_format": CHECKPOINT_FORMAT,
            "step": step,
            "losses": list(losses),
            "frozen": frozen,
            "files": {name: file_digest(temporary / name) for name in files},
        }
        (temporary / "state.json").write_text(json.dumps(state), encoding="utf-8")


def _save_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write a file of tensors; a full disk is the OSError that it is everywhere else."""
    try:
        save_file(tensors, path)
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


def load_latest_checkpoint(
    folder: Path, model: torch.nn.Module, optimizer: Optimizer, frozen: str
) -> Progress:
    """Restore the newest checkpoint whose digests hold; Progress(0, ()) if there is none.

    A torn or changed checkpoint is passed over for the one before it. Raises TrainingError for one
    of another model: other trained parameters, or other frozen ones (their `frozen_digest`).
    """
    for path in _steps(folder):
        try:
            state = json.loads((path / "state.json").read_text(encoding="utf-8"))
            sound = state["checkpoint_format"] in READABLE_FORMATS and all(
                file_digest(path / name) == digest for name, digest in state["files"].items()
            )
        except (OSError, ValueError, KeyError):
            continue
        if not sound:
            continue
        weights = load_file(path / "weights.safetensors")
        if state.get("frozen", "") != frozen:
            raise _foreign(path, "the frozen weights of this model")
        _restore_weights(path, model, weights)
        _restore_optimizer(model, optimizer, load_file(path / "optimizer.safetensors"))
        mean = path / "average.safetensors"
        average = load_file(mean) if mean.name in state["files"] else None
        return Progress(state["step"], tuple(state["losses"]), average)
    return Progress(0, ())


def save_best(folder: Path, model: torch.nn.Module, team: Team = ALONE) -> None:
    """Write the weights of the best point so far, in place of those before them."""
    tensors = _trained_tensors(model)
    if team.is_first:
        atomic_write(folder / BEST_FILE, save(tensors))
    team.wait()


def load_best(folder: Path, model: torch.nn.Module) -> None:
    """Give the model the weights of the best point."""
    path = folder / BEST_FILE
    _restore_weights(path, model, load_file(path))


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)


def _trained(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _trained_tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: whole(p.detach()).cpu() for name, p in _trained(model).items()}


def _restore_weights(path: Path, model: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    trained = _trained(model)
    for name in sorted(weights.keys() | trained.keys()):
        shapes = [one[name].shape if name in one else None for one in (weights, trained)]
        if shapes[0] != shapes[1]:
            raise _foreign(path, f"the trained weights of this model ({name} differs)")
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(placed_as(weights[name], parameter))


def _foreign(path: Path, expected: str) -> TrainingError:
    return TrainingError(
        f"{path} holds a checkpoint of another training", expected, "remove that folder"
    )


def _optimizer_tensors(model: torch.nn.Module, optimizer: Optimizer) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": whole(value.detach()).cpu()
        for name, parameter in _trained(model).items()
        for key, value in optimizer.state_of(parameter).items()
    }


def _restore_optimizer(
    model: torch.nn.Module, optimizer: Optimizer, tensors: dict[str, torch.Tensor]
) -> None:
    trained = _trained(model)
    for key, tensor in tensors.items():
        name, _, field = key.rpartition(".")
        parameter = trained[name]
        cut = tensor.shape == parameter.shape
        optimizer.state_of(parameter)[field] = (
            placed_as(tensor, parameter) if cut else tensor.to(parameter.device)
        )
