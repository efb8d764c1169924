"""What champion and challenger of a language model cost to serve: measured in turn, and limited.

In: both as artifacts, and held-out text to answer. Out: the gate's limits, and the scores that they
rest on, each with its weights and this machine.
"""

from __future__ import annotations

from collections.abc import Sequence

from noria.artifacts import Artifact
from noria.evaluate.metrics import Interval
from noria.evaluate.scores import Score
from noria.evaluate.speed import (
    ONE_READING,
    ORDER_STATISTICS,
    SpeedMetric,
    Timing,
    quantile_interval,
    time_in_turn,
    tokens_per_s,
)
from noria.generate.loaded import LanguageModel, load_language_model
from noria.improve.verdict import Limited
from noria.recipe import GateSettings
from noria.records import Record
from noria.stages.speed import opening_prompts, speed_scores
from noria.workspace import Workspace

NUM_TIMED = 20  # answers of each
ANSWER_TOKENS = 32
BUDGET_S = 5.0


def text_costs(
    workspace: Workspace, champion: Artifact, challenger: Artifact, records: Sequence[Record]
) -> tuple[tuple[Limited, ...], list[Score]]:
    """Time answers of both to the beginnings of records; nothing if the recipe sets no limit."""
    settings = workspace.recipe.gate
    if not settings.latency and not settings.memory:
        return (), []
    both = [load_language_model(one.path) for one in (champion, challenger)]
    prompts = opening_prompts(both[0], records, ANSWER_TOKENS)
    timings = time_in_turn(
        both,
        prompts,
        ANSWER_TOKENS,
        NUM_TIMED,
        BUDGET_S,
        lambda done, total: workspace.watcher.progress("speed of both", done, total),
    )
    scores = [
        score
        for artifact, model, timed in zip((champion, challenger), both, timings, strict=True)
        for score in speed_scores(
            _metrics(model, timed), timed, records, model, artifact, workspace.recipe.seed
        )
    ]
    return cost_limits(settings, both, timings), scores


def _metrics(model: LanguageModel, timed: Sequence[Timing]) -> list[SpeedMetric]:
    first = quantile_interval([one.first_token_s for one in timed], 0.5)
    found = [SpeedMetric("first_token_s, median", first, ORDER_STATISTICS)]
    if rates := tokens_per_s(timed):
        rate = quantile_interval(rates, 0.5)
        found.append(SpeedMetric("tokens_per_s, median", rate, ORDER_STATISTICS))
    num_bytes = float(weight_bytes(model))
    held = Interval(num_bytes, num_bytes, num_bytes)
    return [*found, SpeedMetric("weight_bytes", held, ONE_READING)]


def weight_bytes(model: LanguageModel) -> int:
    """The bytes of a loaded model's parameters and buffers."""
    return sum(one.nbytes for one in (*model.model.parameters(), *model.model.buffers()))


def cost_limits(
    settings: GateSettings, both: Sequence[LanguageModel], timings: Sequence[Sequence[Timing]]
) -> tuple[Limited, ...]:
    """Each limit that the recipe sets, on what both cost; the first is the champion.

    Compared is the fastest answer of each: whatever else runs on a machine only adds to a time.
    """
    first, second = timings
    costs: list[tuple[str, str, float, float, float]] = []
    if settings.latency:
        waited = [min(one.first_token_s for one in timed) for timed in (first, second)]
        costs.append(("time to the first token", "s", waited[0], waited[1], settings.latency))
        rates = [tokens_per_s(timed) for timed in (first, second)]
        if all(rates):
            each = [1 / max(one) for one in rates]
            costs.append(("time for each further token", "s", each[0], each[1], settings.latency))
    if settings.memory:
        held = [float(weight_bytes(one)) for one in both]
        costs.append(("size of the weights", "bytes", held[0], held[1], settings.memory))
    return tuple(Limited(*one) for one in costs)
