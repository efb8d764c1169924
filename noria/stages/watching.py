"""What is seen of a training while it goes on: the bar, the log of metrics, and MLflow's mirror."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import Any

from noria.runtime import switch_telemetry_off
from noria.tracking import MetricsLog, Mirror
from noria.train.choices import measure_matmul
from noria.train.plan import Choices, StepReport
from noria.workspace import Workspace

Watch = Callable[[StepReport], None]


@contextmanager
def watched(
    workspace: Workspace,
    stage: str,
    training: str,
    facts: Mapping[str, Any],
    choices: Choices,
    flops_per_token: float,
) -> Iterator[Watch]:
    """Who is told of each step.

    training: a name that is the same when the training goes on after a stop. facts: what MLflow
    shows as its parameters. flops_per_token: of a training step, for its share of the peak.
    """
    share_per_rate = flops_per_token / _matmul_flops_per_s(workspace, choices)
    with ExitStack() as held:
        log = held.enter_context(MetricsLog(workspace.metrics_path))
        uri, mirror = workspace.recipe.track.mlflow, None
        if uri:
            switch_telemetry_off()
            name = workspace.recipe.name
            mirror = held.enter_context(Mirror(uri, workspace.folder, name, stage, training, facts))
        smoothed: dict[str, float] = {}

        def watch(report: StepReport) -> None:
            measured = {name: one for name, one in asdict(report).items() if one is not None}
            values = {**measured, "matmul_share": share_per_rate * report.tokens_per_s}
            log.write({"stage": stage, **values, "at": time.time()})
            if mirror is not None:
                mirror.write(report.step, values)
            for key in ("loss", "tokens_per_s", "gradient_norm", "matmul_share"):
                smoothed[key] = 0.9 * smoothed.get(key, values[key]) + 0.1 * values[key]
            text = (
                f"loss {smoothed['loss']:.3f}  gradient {smoothed['gradient_norm']:.2f}  "
                f"{smoothed['tokens_per_s']:,.0f} tokens/s, "
                f"{smoothed['matmul_share']:.0%} of what the machine multiplies"
            )
            workspace.watcher.progress(text, report.step, report.num_steps)

        yield watch


def _matmul_flops_per_s(workspace: Workspace, choices: Choices) -> float:
    """The machine's peak, measured once in the same numbers and threads."""
    question = f"matmul-{choices.precision}-{choices.num_threads}"
    entry = workspace.lock.obtain(question, lambda: measure_matmul(choices))
    return float(entry["flops_per_s"])
