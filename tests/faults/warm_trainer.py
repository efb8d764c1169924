"""A warm process that trains a small model with a checkpoint after each step.

Asked: {"folder": …, "case": one of CASES, "kill_line": n}. With a kill_line it kills itself where
the n-th line of the code that writes and reads checkpoints is about to run. Its outcome is the last
checkpoint: weights, optimizer, running mean and loss log.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch._inductor.compile_fx  # what compiling loads
from small_training import CHOICES, CONFIG, PLAN, mixture_in
from warm import serve

import noria.artifacts
import noria.train.checkpoint
from noria.model.adapters import add_adapter
from noria.model.config import ModelConfig
from noria.model.styles import Dropout
from noria.model.transformer import build_decoder
from noria.recipe_file import load_recipe
from noria.stages.lesson import train_plan
from noria.train import loop
from noria.train.plan import Choices, TrainPlan

WATCHED = {noria.artifacts.__file__, noria.train.checkpoint.__file__}
RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "quickstart.toml"
SHIPPED = train_plan(load_recipe(RECIPE).train, 12, 0.003, seed=1)
DROPPING = replace(CONFIG, dropout=Dropout(hidden=0.2, attention=0.1))
UNEVEN = replace(CHOICES, micro_batch_sequences=3)  # of 8 rows; 62 blocks are a pass


@dataclass(frozen=True)
class Case:
    config: ModelConfig
    plan: TrainPlan
    choices: Choices
    adapter: bool = False


CASES = {
    "whole": Case(CONFIG, PLAN, UNEVEN),
    "average": Case(DROPPING, replace(PLAN, average=0.9, keep_best=True, seed=9), CHOICES),
    "adapter": Case(CONFIG, replace(PLAN, optimizer="muon"), UNEVEN, adapter=True),
    "shipped": Case(DROPPING, SHIPPED, Choices("bfloat16", True, 4, 1)),
}


def _kill_at_line(number: int) -> None:
    seen = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal seen
        if frame.f_code.co_filename not in WATCHED:
            return None
        if event == "line":
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


def child(asked: dict[str, Any]) -> int:
    torch.set_num_threads(1)
    loop.CHECKPOINT_EVERY_S = 0.0
    case, folder = CASES[asked["case"]], Path(asked["folder"])
    model = build_decoder(case.config, seed=5)
    if case.adapter:
        add_adapter(model, "own", 2, 4.0, ["query", "up"], 1)
    mixture = mixture_in(folder / "shard")
    if asked.get("kill_line"):
        _kill_at_line(asked["kill_line"])
    held_out = None if case.choices.compile else mixture.batch(10_000)  # else compiled twice
    loop.train(model, mixture, case.plan, case.choices, folder / "ckpt", held_out)
    return 0


serve(child)
