"""Step number in, learning rate out."""

from __future__ import annotations

from math import cos, pi

SCHEDULES = ("cosine", "linear", "stable")
DECAY_SHARE = 0.2  # of the steps, at the end of "stable" (Hu et al. 2024 took a tenth to a fifth)


def learning_rate_at(
    step: int,
    num_steps: int,
    peak: float,
    warmup: float,
    final_share: float,
    schedule: str = "cosine",
) -> float:
    """Linear warm-up over a share of the steps, then a way down to a share of the peak.

    "cosine": Loshchilov and Hutter, "SGDR" (2017), without restarts. "linear": a straight line.
    "stable": warm-up, stable, decay (Hu et al. 2024, MiniCPM): the peak is held, and only the last
    fifth of the steps is a straight line down.
    """
    num_warmup = max(1, round(warmup * num_steps))
    if step < num_warmup:
        return peak * (step + 1) / num_warmup
    start = num_warmup
    if schedule == "stable":
        start = max(num_warmup, num_steps - round(DECAY_SHARE * num_steps))
        if step < start:
            return peak
    progress = (step - start) / max(1, num_steps - start)
    left = 0.5 * (1 + cos(pi * progress)) if schedule == "cosine" else 1 - progress
    return peak * (final_share + (1 - final_share) * left)
