"""Our tuning of SmolLM2 by an adapter, on the shared chats, only answers counted.

Argument: {"warm_steps", "steps", "rows", "rank", "alpha", "learning_rate", "targets",
"num_held_out", "precision"}; with "profile": true those steps are not timed but profiled.
"""

from __future__ import annotations

import json
import sys
import tempfile
from math import inf
from pathlib import Path

import numpy as np
from pace import Finished, Pace, tell
from profiling import Profiled

from noria.model.adapters import add_adapter
from noria.model.weights import load_decoder
from noria.recipe import TrainSettings
from noria.train import loop
from noria.train.batches import Mixture, Row
from noria.train.choices import choices_from_lock, measure_choices
from noria.train.loop import held_out_loss, train
from noria.train.objectives.losses import next_token
from noria.train.plan import StepReport, TrainPlan

CACHE = Path(__file__).resolve().parents[1] / "cache"
LONG = 1_000_000  # steps: a training that the judge ends
FIRST_TRAINED, MEASURED_TOKENS = 40, 256
asked = json.loads(sys.argv[1])
loop.CHECKPOINT_EVERY_S = inf  # no contestant writes checkpoints while it is timed
chats = json.loads((CACHE / "chats.json").read_text())


class InOrder:
    """One chat a row, as every contestant reads them."""

    def __init__(self, some: list[dict[str, list[int]]]) -> None:
        self._some = some

    def read(self, index: int) -> Row:
        one = self._some[index % len(self._some)]
        return Row(np.array(one["ids"]), np.array(one["mask"], dtype=np.bool_))

    def where(self, index: int) -> str:
        return f"chat {index}"


held_out, train_chats = chats[: asked["num_held_out"]], chats[FIRST_TRAINED:]
settings = TrainSettings(
    precision=asked["precision"], compile="off", batch_tokens=asked["rows"] * MEASURED_TOKENS
)
model = load_decoder(CACHE / "smollm2")
add_adapter(model, "tuned", asked["rank"], asked["alpha"], asked["targets"], seed=1)
entry = measure_choices(
    model, settings, MEASURED_TOKENS, asked["rows"], 10**6, lambda text: print(text, flush=True)
)
choices = choices_from_lock(entry)
plan = TrainPlan(LONG, asked["learning_rate"], warmup=0.0, final_learning_rate=1.0)
mean_tokens = round(sum(len(one["ids"]) for one in train_chats) / len(train_chats) * asked["rows"])
pace = (Profiled if asked.get("profile") else Pace)(
    asked["warm_steps"], asked["steps"], mean_tokens
)


def watch(report: StepReport) -> None:
    pace.step_done()


mixture = Mixture([(InOrder(train_chats), 1.0)], asked["rows"])
with tempfile.TemporaryDirectory() as folder:
    try:
        train(model, mixture, plan, choices, Path(folder), watch=watch)
    except Finished:
        batch = Mixture([(InOrder(held_out), 1.0)], len(held_out)).batch(0)
        tell({"held_out_loss": held_out_loss(model, batch, choices, next_token())})
