"""Step number in, learning rate out."""

from __future__ import annotations

from math import cos, pi


def learning_rate_at(
    step: int, num_steps: int, peak: float, warmup: float, final_share: float
) -> float:
    """Linear warm-up over a share of the steps, then cosine decay to a share of the peak.

    The cosine is that of Loshchilov and Hutter, "SGDR" (2017), without restarts.
    """
    num_warmup = max(1, round(warmup * num_steps))
    if step < num_warmup:
        return peak * (step + 1) / num_warmup
    progress = (step - num_warmup) / max(1, num_steps - num_warmup)
    return peak * (final_share + (1 - final_share) * 0.5 * (1 + cos(pi * progress)))
