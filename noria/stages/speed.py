"""How fast the model answers on this machine, as scores beside those of its quality."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from noria.artifacts import Artifact
from noria.evaluate.harness import data_digest
from noria.evaluate.scores import Score, lock_digest, write_scores
from noria.evaluate.speed import SpeedMetric, Timing, speed_metrics, time_answers
from noria.generate.loaded import LanguageModel, load_language_model
from noria.records import Record, read_records, record_texts
from noria.runtime import backend_name, machine_name
from noria.stages.measuring import sampled
from noria.stages.stage import Facts, run_stage
from noria.workspace import Workspace

FAMILY = "speed"
SCORES_FILE = "scores.json"
MAX_ANSWERS = 100  # enough for a 95th percentile with both ends
PROMPT_TOKENS = 64
ANSWER_TOKENS = 32
BUDGET_S = 3.0


def speed_scores(
    metrics: Iterable[SpeedMetric],
    timings: Sequence[Timing],
    records: Sequence[Record],
    loaded: LanguageModel,
    artifact: Artifact,
    seed: int,
) -> list[Score]:
    """Metrics of a model's timed answers as scores, each with its weights and this machine."""
    return [
        Score(
            metric=f"{FAMILY}.{one.name}",
            value=one.value.value,
            low=one.value.low,
            high=one.value.high,
            num_records=len(timings),
            num_tokens=sum(timing.num_tokens for timing in timings),
            weight_hash=loaded.weight_hash,
            data_digest=data_digest(records),
            seed=seed,
            backend=backend_name(),
            measured_at=time.time(),
            lock_digest=lock_digest(artifact.manifest.lock),
            confidence=0.95,
            interval=one.interval,
            machine=machine_name(),
        )
        for one in metrics
    ]


def measure_speed(workspace: Workspace, corpus: Artifact, model: Artifact) -> Artifact:
    """Time answers to the beginnings of held-out records, one after another, in this process.

    The same weights on another machine are measured again.
    """

    def make(folder: Path) -> Facts:
        records = sampled(read_records(corpus.path / "held_out.jsonl"), MAX_ANSWERS)
        loaded = load_language_model(model.path)
        prompts = opening_prompts(loaded, records, ANSWER_TOKENS)
        timings = time_answers(
            loaded,
            prompts,
            ANSWER_TOKENS,
            MAX_ANSWERS,
            BUDGET_S,
            lambda done, total: workspace.watcher.progress("answers", done, total),
        )
        metrics = speed_metrics(timings)
        scores = speed_scores(metrics, timings, records, loaded, model, workspace.recipe.seed)
        write_scores(folder / SCORES_FILE, scores)
        found = {score.metric.removeprefix(f"{FAMILY}."): score.value for score in scores}
        return {"weight_hash": loaded.weight_hash, "num_answers": len(timings), "speed": found}

    return run_stage(
        workspace,
        "speed",
        make,
        settings={
            "answers": MAX_ANSWERS,
            "prompt_tokens": PROMPT_TOKENS,
            "answer_tokens": ANSWER_TOKENS,
            "budget_s": BUDGET_S,
        },
        inputs={
            "model": model.key,
            "corpus": corpus.key,
            "machine": machine_name(),
            "backend": backend_name(),
        },
        result=_line,
    )


def opening_prompts(
    model: LanguageModel, records: Sequence[Record], answer_tokens: int
) -> list[list[int]]:
    """The first tokens of each record, so few that an answer has room behind them."""
    room = max(1, model.model.config.context_tokens - answer_tokens)
    tokenizer = model.tokenizer
    before = tokenizer.start_ids or (tokenizer.end_id,)
    return [
        [*before, *tokenizer.encode(record_texts(one)[0])][: min(PROMPT_TOKENS, room)]
        for one in records
    ]


def _line(facts: Facts) -> str:
    found = facts["speed"]
    rate, memory = found.get("tokens_per_s, median"), found["peak_memory_bytes"]
    return (
        f"first token after {found['first_token_s, median'] * 1e3:,.1f} ms, "
        + (f"then {rate:,.0f} tokens/s; " if rate else "")
        + f"{memory / 1e6:,.0f} MB held at most ({facts['num_answers']} answers)"
    )
