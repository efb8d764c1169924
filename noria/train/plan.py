"""What a training is told before it begins, and what it tells whoever watches."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from noria.artifacts import acting

NUM_FIRST_SETTINGS = 7  # of a plan, which its JSON form has always had


@dataclass(frozen=True)
class TrainPlan:
    """How many steps, and how each is taken.

    average: decay of the running mean of the weights that training ends with, 0 for the last
    weights. patience: so many points of the held-out curve without a better one end the training;
    keep_best: it ends with the weights of the best point. recompute: blocks are computed again for
    the backward pass, which costs a third more time and saves most of the memory. spike: a loss
    that is so many times the recent mean is one, 0 for none; on_spike: "stop", or "back" to the
    last checkpoint and past the batch. shard: several processes share the weights, instead of each
    having all of them. seed: of dropout.
    """

    num_steps: int
    learning_rate: float
    optimizer: str = "adamw"
    warmup: float = 0.05
    final_learning_rate: float = 0.05
    weight_decay: float = 0.1
    clip: float = 1.0
    schedule: str = "cosine"
    layer_decay: float = 1.0
    average: float = 0.0
    patience: int = 0
    keep_best: bool = False
    recompute: bool = False
    spike: float = 0.0
    on_spike: str = "stop"
    shard: bool = False
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """What decides the result beside the seed, which its caller knows.

        Settings that came later are there only where they act; who holds which weights decides
        nothing.
        """
        names = [one.name for one in fields(self)]
        first = {name: getattr(self, name) for name in names[:NUM_FIRST_SETTINGS]}
        return first | acting(self, {*names[NUM_FIRST_SETTINGS:]} - {"seed", "shard"})


@dataclass(frozen=True)
class Choices:
    """What was chosen by measuring, and decides the last bits of every sum."""

    precision: str
    compile: bool
    micro_batch_sequences: int
    num_threads: int
    parts_at_once: int = 1  # micro-batches that share the threads

    def to_json(self) -> dict[str, Any]:
        """For the lock and the names of what was trained; what came later only where it acts."""
        value = asdict(self)
        if self.parts_at_once == 1:
            del value["parts_at_once"]
        return value


@dataclass(frozen=True)
class StepReport:
    """What a watcher may show after each step; gradient_norm is before clipping."""

    step: int
    num_steps: int
    loss: float
    tokens_per_s: float
    gradient_norm: float
    learning_rate: float
    held_out_loss: float | None = None  # where the held-out curve has a point
