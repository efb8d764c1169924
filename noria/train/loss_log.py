"""What a loss log says: how far it is, what a spike is, whether it gets any better.

In: the log, an entry a step: `step`, `loss` (nats) and, where the held-out curve has a point,
`held_out_loss`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

from noria.train.plan import TrainPlan

NUM_HELD_OUT_POINTS = 12
RECENT_STEPS = 20  # whose mean loss a spike is measured by

LossLog = Sequence[dict[str, Any]]


def recent_loss(losses: LossLog) -> float:
    """Mean loss of the last steps."""
    recent: list[float] = [entry["loss"] for entry in losses[-RECENT_STEPS:]]
    return sum(recent) / len(recent)


def largest_loss(losses: LossLog, plan: TrainPlan) -> float:
    """The largest loss that is no spike."""
    known = plan.spike and len(losses) >= RECENT_STEPS
    return plan.spike * recent_loss(losses) if known else inf


def is_point(step: int, plan: TrainPlan) -> bool:
    """Whether the held-out curve has a point there."""
    return step % max(1, plan.num_steps // NUM_HELD_OUT_POINTS) == 0 or step == plan.num_steps


def points(losses: LossLog) -> list[float]:
    """The held-out curve."""
    return [entry["held_out_loss"] for entry in losses if "held_out_loss" in entry]


def is_over(losses: LossLog, plan: TrainPlan) -> bool:
    """Whether the held-out loss has not fallen for as many points as the plan is patient."""
    curve = points(losses)
    if not plan.patience or len(curve) <= plan.patience:
        return False
    return min(curve[-plan.patience :]) >= min(curve[: -plan.patience])
