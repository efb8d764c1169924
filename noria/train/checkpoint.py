"""Training state in, folders on disk out, and back; whole or not at all, digests checked.

    <folder>/step-00000120/weights.safetensors    parameters that train, by name
                          /optimizer.safetensors  <parameter>.exp_avg, .momentum_buffer, …
                          /state.json             step, losses, digests of the two files and of
                                                  the frozen parameters

Randomness and data position need no file: both are functions of the step number. Frozen parameters
(the base under an adapter) do not change, so that their digest is enough.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from noria.artifacts import atomic_folder, file_digest
from noria.errors import TrainingError
from noria.model.weights import weight_hash
from noria.train.optim import Optimizer

CHECKPOINT_FORMAT = 2
READABLE_FORMATS = (1, 2)  # 1 had no frozen parameters
KEEP_LAST = 2


@dataclass(frozen=True)
class Progress:
    """How far training is: steps done, and the loss log so far."""

    step: int
    losses: tuple[dict[str, Any], ...]


def frozen_digest(model: torch.nn.Module) -> str:
    """The hash of the parameters that do not train, "" if all do; once a run, for it reads them."""
    frozen = {name: p for name, p in model.named_parameters() if not p.requires_grad}
    return weight_hash(frozen) if frozen else ""


def save_checkpoint(
    folder: Path,
    model: torch.nn.Module,
    optimizer: Optimizer,
    step: int,
    losses: Sequence[dict[str, Any]],
    frozen: str,
) -> Path:
    """Write `<folder>/step-<step>`, then drop all but the last two. frozen: `frozen_digest`."""
    path = folder / f"step-{step:08d}"
    with atomic_folder(path) as temporary:
        weights = {name: p.detach().cpu() for name, p in _trained(model).items()}
        save_file(weights, temporary / "weights.safetensors")
        save_file(_optimizer_tensors(model, optimizer), temporary / "optimizer.safetensors")
        state = {
            "checkpoint_format": CHECKPOINT_FORMAT,
            "step": step,
            "losses": list(losses),
            "frozen": frozen,
            "files": {
                name: file_digest(temporary / name)
                for name in ("weights.safetensors", "optimizer.safetensors")
            },
        }
        (temporary / "state.json").write_text(json.dumps(state), encoding="utf-8")
    for old in _steps(folder)[KEEP_LAST:]:
        shutil.rmtree(old, ignore_errors=True)
    return path


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
            whole = state["checkpoint_format"] in READABLE_FORMATS and all(
                file_digest(path / name) == digest for name, digest in state["files"].items()
            )
        except (OSError, ValueError, KeyError):
            continue
        if not whole:
            continue
        weights = load_file(path / "weights.safetensors")
        if state.get("frozen", "") != frozen:
            raise _foreign(path, "the frozen weights of this model")
        _restore_weights(path, model, weights)
        _restore_optimizer(model, optimizer, load_file(path / "optimizer.safetensors"))
        return Progress(state["step"], tuple(state["losses"]))
    return Progress(0, ())


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)


def _trained(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _restore_weights(path: Path, model: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    trained = _trained(model)
    for name in sorted(weights.keys() | trained.keys()):
        shapes = [one[name].shape if name in one else None for one in (weights, trained)]
        if shapes[0] != shapes[1]:
            raise _foreign(path, f"the trained weights of this model ({name} differs)")
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(weights[name])


def _foreign(path: Path, expected: str) -> TrainingError:
    return TrainingError(
        f"{path} holds a checkpoint of another training", expected, "remove that folder"
    )


def _optimizer_tensors(model: torch.nn.Module, optimizer: Optimizer) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": value.detach().cpu()
        for name, parameter in _trained(model).items()
        for key, value in optimizer.state_of(parameter).items()
    }


def _restore_optimizer(
    model: torch.nn.Module, optimizer: Optimizer, tensors: dict[str, torch.Tensor]
) -> None:
    trained = _trained(model)
    for key, tensor in tensors.items():
        name, _, field = key.rpartition(".")
        optimizer.state_of(trained[name])[field] = tensor.to(trained[name].device)
