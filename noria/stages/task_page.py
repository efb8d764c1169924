"""The parts of a report that are about applications, and the whole of one that has nothing else."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from noria.artifacts import Artifact
from noria.evaluate.card import write_card, write_data_card, write_report_json
from noria.evaluate.compare import BETTER, NO_DIFFERENCE, WORSE
from noria.evaluate.contents import (
    AuditRow,
    CardSection,
    ClassesSection,
    DataRow,
    NextCommand,
    QuarantineRow,
    Report,
    StageRow,
    WayRow,
    WaysSection,
)
from noria.evaluate.metrics import Interval
from noria.evaluate.report import render_report
from noria.evaluate.results import classes_section, read_result
from noria.evaluate.scores import read_scores, require_weights
from noria.runtime import machine_name
from noria.stages.card import NOT_STATED_USE, licence_of
from noria.stages.review import review_sentences
from noria.stages.task_names import task_name
from noria.stages.tasks import SERVED, TaskMade
from noria.workspace import Workspace

_VERDICTS = {1: BETTER, -1: WORSE, 0: NO_DIFFERENCE}


def ways_sections(tasks: Sequence[TaskMade]) -> tuple[WaysSection, ...]:
    """The table of ways of each application."""
    return tuple(_ways(one.name, one.model.facts) for one in tasks)


def _ways(name: str, facts: dict[str, Any]) -> WaysSection:
    skipped = [f"{one['way']} was not tried: {one['why']}." for one in facts["skipped"]]
    return WaysSection(
        name,
        facts["metric"],
        facts["rows"][0]["num_records"],
        tuple(_way(row) for row in facts["rows"]),
        (*facts["why"], *skipped),
    )


def _way(row: dict[str, Any]) -> WayRow:
    against = row["against_baseline"]
    return WayRow(
        row["way"],
        row["served"],
        Interval(row["value"], row["low"], row["high"]),
        row.get("num_trainings", 1),
        Interval(against["value"], against["low"], against["high"]) if against else None,
        _VERDICTS[against["better"]] if against else "",
        row["train_s"],
        row["latency_s"],
        row["latency_p95_s"],
        row["num_bytes"],
        row["peak_memory_bytes"],
        row["weight_hash"],
    )


def classes_sections(tasks: Sequence[TaskMade]) -> tuple[ClassesSection, ...]:
    """What each application answered on its test.

    Raises IntegrityError for scores that were measured on other weights.
    """
    for one in tasks:
        scores = read_scores(one.model.path / "scores.json")
        require_weights(scores, [one.model.facts["weight_hash"]])
    results = [read_result(one.model.path / "results" / SERVED) for one in tasks]
    return tuple(
        classes_section(one.name, result) for one, result in zip(tasks, results, strict=True)
    )


def quarantine_rows(made: Sequence[Artifact]) -> tuple[QuarantineRow, ...]:
    """What stages lost of their files, by reason; nothing is known of older ones."""
    rows = []
    for one in made:
        for reason, found in one.facts.get("quarantined", {}).get("reasons", {}).items():
            first = found["examples"][0]
            place = f"{first['file']}:{first['line']}" if first["line"] else first["file"]
            rows.append(QuarantineRow(reason, found["count"], place, first["value"]))
    return tuple(rows)


def stage_rows(workspace: Workspace) -> tuple[StageRow, ...]:
    """What ran."""
    return tuple(
        StageRow(row.stage, row.result, row.elapsed_s, row.peak_memory_bytes, row.reused)
        for row in workspace.results
    )


def task_commands(workspace: Workspace) -> tuple[NextCommand, ...]:
    """What to try next with each application."""
    return tuple(
        NextCommand(f'noria task {name} "…" -r {workspace.recipe_argument}', f"ask {name}")
        for name in workspace.recipe.tasks
    )


def write_task_report(workspace: Workspace, tasks: Sequence[TaskMade]) -> Path:
    """Write report.html, its JSON and the two cards of a recipe that has applications alone."""
    path = workspace.root / "report.html"
    serve = NextCommand(f"noria serve {workspace.recipe_argument}", "serve all of it over HTTP")
    history = [
        entry
        for one in tasks
        for entry in workspace.registry.history(
            workspace.tenant, task_name(workspace.recipe, one.name)
        )
    ]
    report = Report(
        name=workspace.recipe.name,
        made_at=time.time(),
        machine=machine_name(),
        headline=" ".join(map(_sentence, tasks)),
        live_hash=tasks[0].live_hash if len(tasks) == 1 else "",
        stages=stage_rows(workspace),
        quarantine=quarantine_rows([one.data for one in tasks]),
        classes=classes_sections(tasks),
        ways=ways_sections(tasks),
        audit=tuple(
            AuditRow(one.at, one.actor, one.action, one.weight_hash, one.reason) for one in history
        ),
        next_commands=(*task_commands(workspace), serve),
        card=_card(workspace, tasks),
    )
    render_report(report, path)
    write_report_json(report, workspace.root / "report.json")
    write_card(report, workspace.root / "model_card.md")
    write_data_card(report, workspace.root / "data_card.md")
    return path


def _sentence(made: TaskMade) -> str:
    facts = made.model.facts
    row = next(one for one in facts["rows"] if one["served"])
    return (
        f"{made.name}: {facts['metric'].replace('_', ' ')} {row['value']:.3f} on "
        f"{row['num_records']:,} texts that nothing was trained on, "
        f"{row['latency_s'] * 1e3:.1f} ms an answer ({facts['way']})."
    )


def task_data_rows(workspace: Workspace, tasks: Sequence[TaskMade]) -> tuple[DataRow, ...]:
    """The data of each application, for the card: where it is from, and how much of it."""
    rows = []
    for one in tasks:
        task, splits = workspace.recipe.tasks[one.name], one.data.facts["splits"]
        sources = dict.fromkeys(_source(glob) for glob in (*task.files, *task.test, *task.held_out))
        licences = dict.fromkeys(licence_of(workspace.recipe, source) for source in sources)
        said = ", ".join(sources), "; ".join(licences)
        sizes = splits["train"], splits["held_out"], splits["test"]
        rows.append(DataRow(f"{one.name}: {said[0]}", "as it comes", said[1], *sizes))
    return tuple(rows)


def _source(glob: str) -> str:
    """The package of a glob, or the first folder of its name."""
    return glob.split("/")[0]


def _card(workspace: Workspace, tasks: Sequence[TaskMade]) -> CardSection:
    recipe = workspace.recipe
    contamination = []
    for one in tasks:
        for what, count in one.data.facts["dropped"].items():
            contamination.append(f"{one.name}: {count:,} {what}.")
    return CardSection(
        intended_use=recipe.card.intended_use or NOT_STATED_USE,
        data=task_data_rows(workspace, tasks),
        limits=(
            *recipe.card.limits,
            "It answers with the labels and tags that it was shown, whatever the text is about, "
            "unless it abstains.",
            "A probability is calibrated on held-out rows of these files; on other text it is not.",
        ),
        contamination=tuple(contamination),
        not_measured=(
            "Fairness between groups of people; any text but that of this recipe.",
            "Any machine but this one: latency and memory are of it alone.",
        ),
        reviews=tuple(
            sentence
            for one in tasks
            for sentence in review_sentences(workspace, task_name(recipe, one.name))
        ),
    )
