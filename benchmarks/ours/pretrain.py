"""Our trainer on the shared text and first weights, precision and compilation as it measures them.

Argument: {"warm_steps", "steps", "precision": "auto" or a name, "learning_rate", "rows"}; with
"profile": true those steps are not timed but profiled.
"""

from __future__ import annotations

import json
import sys
import tempfile
from math import inf
from pathlib import Path

import numpy as np
import torch
from pace import Finished, Pace, tell
from profiling import Profiled

from noria.model.weights import load_decoder
from noria.recipe import TrainSettings
from noria.train import loop
from noria.train.batch import TokenBatch
from noria.train.choices import choices_from_lock, measure_choices
from noria.train.loop import held_out_loss, train
from noria.train.objectives.losses import next_token
from noria.train.plan import StepReport, TrainPlan

CACHE = Path(__file__).resolve().parents[1] / "cache"
CONTEXT_TOKENS = 256
LONG = 1_000_000  # steps: a training that the judge ends
asked = json.loads(sys.argv[1])
loop.CHECKPOINT_EVERY_S = inf  # no contestant writes checkpoints while it is timed


class Consecutive:
    """Rows of running text, one behind the other, as every contestant reads them."""

    def __init__(self, name: str, num_rows: int) -> None:
        self._ids = torch.from_numpy(np.load(CACHE / name))
        self._num_rows = num_rows

    def batch(self, step: int) -> TokenBatch:
        size = self._num_rows * CONTEXT_TOKENS
        start = step * size % (len(self._ids) - size - 1)
        ids = self._ids[start : start + size + 1]
        shape = (self._num_rows, CONTEXT_TOKENS)
        return TokenBatch(
            ids[:-1].view(shape), ids[1:].view(shape), torch.ones(shape, dtype=torch.bool)
        )

    def describe(self, step: int) -> str:
        return f"step {step}"


settings = TrainSettings(precision=asked["precision"], compile=asked["compile"])
model = load_decoder(CACHE / "ours")
entry = measure_choices(
    model, settings, CONTEXT_TOKENS, asked["rows"], 10**8, lambda text: print(text, flush=True)
)
choices = choices_from_lock(entry)
model = load_decoder(CACHE / "ours")
plan = TrainPlan(LONG, asked["learning_rate"], warmup=0.0, final_learning_rate=1.0)
tokens_per_step = asked["rows"] * CONTEXT_TOKENS
pace = (Profiled if asked.get("profile") else Pace)(
    asked["warm_steps"], asked["steps"], tokens_per_step
)


def watch(report: StepReport) -> None:
    pace.step_done()


with tempfile.TemporaryDirectory() as folder:
    try:
        train(
            model, Consecutive("train.npy", asked["rows"]), plan, choices, Path(folder), watch=watch
        )
    except Finished:
        held_out = Consecutive("held_out.npy", 48).batch(0)
        with torch.no_grad():
            tell({"held_out_loss": held_out_loss(model, held_out, choices, next_token())})
