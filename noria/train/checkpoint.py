"""Training state in, folders on disk out, and back; whole or not at all, digests checked.

    <folder>/step-00000120/weights.safetensors    parameters by name
                          /optimizer.safetensors  <parameter>.exp_avg, .exp_avg_sq, .step
                          /state.json             step, losses, digests of the two files

Randomness and data position need no file: both are functions of the step number.
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

CHECKPOINT_FORMAT = 1
KEEP_LAST = 2


@dataclass(frozen=True)
class Progress:
    """How far training is: steps done, and the loss log so far."""

    step: int
    losses: tuple[dict[str, Any], ...]


def save_checkpoint(
    folder: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
    losses: Sequence[dict[str, Any]],
) -> Path:
    """Write `<folder>/step-<step>`, then drop all but the last two."""
    path = folder / f"step-{step:08d}"
    with atomic_folder(path) as temporary:
        weights = {name: p.detach().cpu() for name, p in model.named_parameters()}
        save_file(weights, temporary / "weights.safetensors")
        save_file(_optimizer_tensors(model, optimizer), temporary / "optimizer.safetensors")
        state = {
            "checkpoint_format": CHECKPOINT_FORMAT,
            "step": step,
            "losses": list(losses),
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
    folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> Progress:
    """Restore the newest checkpoint whose digests hold; Progress(0, ()) if there is none.

    A torn or changed checkpoint is passed over for the one before it.
    """
    for path in _steps(folder):
        try:
            state = json.loads((path / "state.json").read_text(encoding="utf-8"))
            whole = state["checkpoint_format"] == CHECKPOINT_FORMAT and all(
                file_digest(path / name) == digest for name, digest in state["files"].items()
            )
        except (OSError, ValueError, KeyError):
            continue
        if not whole:
            continue
        weights = load_file(path / "weights.safetensors")
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(weights[name])
        _restore_optimizer(model, optimizer, load_file(path / "optimizer.safetensors"))
        return Progress(state["step"], tuple(state["losses"]))
    return Progress(0, ())


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)


def _optimizer_tensors(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, torch.Tensor]:
    tensors = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{name}.{key}"] = value.detach().cpu()
    return tensors


def _restore_optimizer(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]
) -> None:
    for name, parameter in model.named_parameters():
        state = {
            key.rsplit(".", 1)[1]: tensor
            for key, tensor in tensors.items()
            if key.rsplit(".", 1)[0] == name
        }
        if state:
            optimizer.state[parameter] = {
                key: value.to(parameter.device) for key, value in state.items()
            }
