"""evaluate: a version on tasks of lm-evaluation-harness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from noria.cli.screen import JSON, RECIPE, STORE, Opened, show
from noria.errors import UsageError


def add_verbs(app: typer.Typer) -> None:
    """Put this file's verb on the command line."""
    app.command()(evaluate)


def evaluate(
    recipe: Path = RECIPE,
    harness: list[Path] = typer.Option(
        [], "--harness", help="A task of lm-evaluation-harness: its YAML file. May be repeated."
    ),
    model: str = typer.Option("", "--model", help="Weight hash (prefix); default: the live one."),
    policy: Path | None = typer.Option(
        None,
        "--policy",
        help="Texts, one a line, that should all be answered, or all be refused: how many does the "
        "policy refuse, why, and on which lines?",
    ),
    limit: int | None = typer.Option(None, "--limit", min=1, help="Only so many examples a task."),
    store: Path | None = STORE,
    as_json: bool = JSON,
) -> None:
    """Measure a version on tasks of your own, by lm-evaluation-harness, with our intervals.

    A task's file may name Python functions, which are run. Data are read from beside it, never from
    a network.
    """
    from noria.evaluate.scores import score_to_json
    from noria.stages.benchmarking import evaluate_tasks

    if policy is not None:
        _policy(recipe, policy, store, as_json)
        return
    if not harness:
        raise UsageError("no task", "one at least", "name a YAML file with --harness")
    with Opened(recipe, store, as_json) as workspace:
        scores = evaluate_tasks(workspace, model, harness, limit)
    found = {"scores": [score_to_json(one) for one in scores]}
    lines = [f"weights {scores[0].weight_hash[:12]}"] if scores else ["no metric"]
    lines += [
        f"{row['metric']:<40} {row['value']:>9.5g}  95% {_end(row['low'])} to {_end(row['high'])}"
        f"  {row['num_records']:,} examples"
        for row in found["scores"]
    ]
    show(found, as_json, "\n".join(lines))


def _policy(recipe: Path, texts: Path, store: Path | None, as_json: bool) -> None:
    """What the policy of the server refuses of a file's texts."""
    from noria.stages.policy import refusals

    with Opened(recipe, store, as_json) as workspace:
        found = refusals(workspace, texts)
    lines = [f"{found['texts']:,} texts; intervals are of 95%"]
    lines += [
        f"{name.replace('_', ' ')}: {_share(found[name])}"
        for name in ("refused_prompts", "refused_answers")
    ]
    for one in found["reasons"]:
        by = f" {one['by']}" if one["by"] else ""
        more = ", …" if len(one["lines"]) < one["num_texts"] else ""
        lines += [
            f"  {one['as']}s by {one['reason']}{by}: {_share(one)}",
            f"    lines {', '.join(map(str, one['lines']))}{more}",
        ]
    lines += [
        f"  topics of at least {one['at_least']:.2f}: {_share(one)}"
        for one in found["topics_at_least"]
    ]
    show(found, as_json, "\n".join(lines))


def _share(found: dict[str, Any]) -> str:
    ends = f"{found['low']:.2%} to {found['high']:.2%}"
    return f"{found['num_texts']:,}, {found['share']:.2%} ({ends})"


def _end(value: float | None) -> str:
    return "not known" if value is None else f"{value:.5g}"
