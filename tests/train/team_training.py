"""What each process of a team runs in the tests: started by torchrun, with its trainings as JSON.

A training: {"folder": …, "plan": {…}, "adapter": …, "precision": …, "held_out": …, "stop_after":
step}. The first process writes weights and loss log of each one that comes to its end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from small_training import CHOICES, CONFIG, PLAN, mixture_in

from noria.errors import Interrupted
from noria.model.adapters import add_adapter
from noria.model.transformer import build_decoder
from noria.train.loop import train
from noria.train.parallel import Team, open_team
from noria.train.plan import StepReport


def train_one(asked: Mapping[str, Any], team: Team) -> None:
    folder, plan = Path(asked["folder"]), replace(PLAN, **asked.get("plan", {}))
    model = build_decoder(CONFIG, seed=5)
    if asked.get("adapter"):
        add_adapter(model, "own", 2, 4.0, ["query", "up"], 1)
    choices = replace(CHOICES, precision=asked.get("precision", CHOICES.precision))
    mixture = mixture_in(folder / f"shard-{team.rank}")
    held_out = mixture.batch(10_000) if asked.get("held_out") else None

    def watch(report: StepReport) -> None:
        if report.step == asked.get("stop_after"):
            os.kill(os.getpid(), signal.SIGINT)

    teller = watch if team.is_first else None
    try:
        losses = train(model, mixture, plan, choices, folder / "ckpt", held_out, teller, team=team)
    except Interrupted:
        return
    if team.is_first:
        tensors = {name: one.detach() for name, one in model.named_parameters()}
        save_file(tensors, folder / "weights.safetensors")
        (folder / "losses.json").write_text(json.dumps(losses))


torch.set_num_threads(1)
with open_team("cpu") as team:
    for asked in json.loads(sys.argv[1]):
        train_one(asked, team)
