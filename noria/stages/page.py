"""Everything that a run made, as one page for a person."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noria.artifacts import Artifact
from noria.corpus.measured import read_measured
from noria.evaluate.card import write_card, write_data_card, write_report_json
from noria.evaluate.metrics import Interval
from noria.evaluate.picture import Chart, Line
from noria.evaluate.report import (
    AuditRow,
    BaselineSection,
    CompressionSection,
    DifferenceRow,
    FertilityRow,
    IdentitiesSection,
    NextCommand,
    Report,
    SampleRow,
    ScoreRow,
    SpeedRow,
    render_report,
)
from noria.evaluate.scores import Score, read_scores, require_weights
from noria.improve.verdict import gate_section
from noria.runtime import machine_name
from noria.stages.card import card_section
from noria.stages.converse import Conversation
from noria.stages.measuring import GapFacts, gap_interval
from noria.stages.speed import ANSWER_TOKENS, FAMILY
from noria.stages.task_page import (
    classes_sections,
    quarantine_rows,
    stage_rows,
    task_commands,
    task_data_rows,
    ways_sections,
)
from noria.stages.tasks import TaskMade
from noria.stages.text import LANGUAGE_NAMES
from noria.stages.turned import Turn
from noria.text_settings import CorpusSettings
from noria.workspace import Workspace

NUM_SAMPLES = 3
RIVAL_STAGES = ("ngram", "base", "extend")
RECORDS_NAMES = {
    "corpus": "held-out text of the corpus",
    "feedback": "held-out corrections",
    "frozen": "text set aside before any feedback",
    "general": "general text",
}


@dataclass(frozen=True)
class Made:
    """The artifacts of a run; the last three only where feedback was simulated.

    `timed` is how fast the model answers.
    """

    corpus: Artifact
    tokens: Artifact
    model: Artifact
    evaluated: Artifact
    compressed: Artifact | None
    exported: Artifact
    timed: Artifact
    conversation: Conversation | None = None
    turn: Turn | None = None
    swap: Artifact | None = None


def write_report(workspace: Workspace, made: Made, tasks: Sequence[TaskMade] = ()) -> Path:
    """Write report.html, its JSON and the two cards beside the artifacts; returns the first."""
    path = workspace.root / "report.html"
    name = workspace.recipe.name
    live = workspace.registry.live(workspace.tenant, name)
    turn, base = made.turn, workspace.recipe.model.base
    breakdown = _breakdown(made.evaluated)
    report = Report(
        name=name,
        made_at=time.time(),
        machine=machine_name(),
        headline=_headline(made, base),
        live_hash=live.weight_hash if live else "",
        stages=stage_rows(workspace),
        quarantine=quarantine_rows([made.corpus, made.tokens, *(one.data for one in tasks)]),
        fertility=_fertility(made.tokens),
        identities=_identities(made.corpus, workspace.recipe.corpus),
        charts=_charts(made),
        scores=_scores(stored_scores(workspace, made)),
        baseline=BaselineSection(
            "tuned model" if base else "Transformer",
            f"base {base}" if base else "interpolated 5-gram (modified Kneser-Ney)",
            made.evaluated.facts["model"],
            made.evaluated.facts["rival"],
            gap_interval(made.evaluated.facts["gaps"]["corpus"]),
        ),
        breakdown=breakdown,
        classes=classes_sections(tasks),
        ways=ways_sections(tasks),
        compression=_compression(made.compressed),
        speed=speed_rows(made),
        samples=_samples(made),
        contributions=_differences(turn.judged.facts["contributions"]) if turn else (),
        gates=(gate_section(turn.verdict),) if turn else (),
        afterwards=_differences(turn.judged.facts["afterwards"]) if turn else (),
        audit=tuple(
            AuditRow(entry.at, entry.actor, entry.action, entry.weight_hash, entry.reason)
            for entry in workspace.registry.history(workspace.tenant, name)
        ),
        next_commands=(
            NextCommand(f"noria chat {workspace.recipe_argument}", "talk with the live model"),
            NextCommand(f"noria serve {workspace.recipe_argument}", "serve it, OpenAI-compatible"),
            *task_commands(workspace),
        ),
        card=card_section(
            workspace,
            made.corpus,
            made.model,
            [
                name
                for name, there in (("gate", turn), ("groups", breakdown), ("tasks", tasks))
                if there
            ],
            task_data_rows(workspace, tasks),
        ),
    )
    render_report(report, path)
    write_report_json(report, workspace.root / "report.json")
    write_card(report, workspace.root / "model_card.md")
    write_data_card(report, workspace.root / "data_card.md")
    return path


def _fertility(tokens: Artifact) -> tuple[FertilityRow, ...]:
    """A row for each language; none for tokens that were made before it was measured."""
    found = tokens.facts.get("fertility", {})
    return tuple(
        FertilityRow(
            name,
            found[language]["tokens"],
            found[language]["bytes_per_token"],
            found[language]["tokens_per_word"],
            found[language]["tokens_per_character"],
        )
        for language, name in LANGUAGE_NAMES.items()
        if language in found
    )


def _identities(corpus: Artifact, settings: CorpusSettings) -> IdentitiesSection | None:
    """What left the corpus, beside the stored measurement; None where all stays as it came."""
    if settings.identities == "keep":
        return None
    measured = read_measured()
    said = {
        "replace": "Names, organisations and addresses were looked for.",
        "personal": "Names, organisations and addresses stay in these texts, and go from feedback.",
        "off": "Names, organisations and addresses stay, in these texts and in feedback.",
    }
    return IdentitiesSection(
        tuple(corpus.facts["identities"].items()),
        said[settings.names],
        measured.made_on,
        measured.kinds,
    )


def _breakdown(evaluated: Artifact) -> tuple[DifferenceRow, ...]:
    """Where there is more than one kind of text: the difference on each alone."""
    gaps, parts = evaluated.facts["gaps"], evaluated.facts["parts"]
    if len(gaps) + len(parts) < 2:
        return ()
    found = {**gaps, **{name: part["gap"] for name, part in parts.items()}}
    return tuple(
        DifferenceRow(_records_name(name), gap_interval(gap)) for name, gap in found.items()
    )


def _records_name(name: str) -> str:
    """What a set's name means: `corpus`, or `corpus, zh` for one language of it."""
    family, _, language = name.partition(", ")
    return RECORDS_NAMES[family] + (f", {language}" if language else "")


def _headline(made: Made, base: str) -> str:
    facts = made.model.facts
    text = (
        f"A Transformer of {facts['num_parameters'] / 1e6:.1f} million parameters, "
        f"{f'tuned from {base}' if base else 'trained from random weights'} on "
        f"{made.corpus.facts['splits']['train']['bytes'] / 1e6:.1f} MB of text, "
        f"needs {made.evaluated.facts['model']:.2f} bits per byte of text it has never seen."
    )
    if made.turn is None:
        return text
    verdict = "was promoted" if made.turn.verdict.promote else "was not promoted"
    count = len(made.turn.curated.train) + len(made.turn.curated.held_out)
    return (
        f"{text} Simulated users corrected {count} of its answers; the challenger that learned "
        f"from them {verdict} by the gate."
    )


def _charts(made: Made) -> tuple[Chart, ...]:
    losses = made.model.facts["losses"]
    charts = [
        Chart(
            "Training",
            "step",
            "loss (nats per token)",
            (
                Line("training", tuple((e["step"], e["loss"]) for e in losses)),
                Line(
                    "held out",
                    tuple((e["step"], e["held_out_loss"]) for e in losses if "held_out_loss" in e),
                    dots=True,
                ),
            ),
        )
    ]
    turn = made.turn
    if turn is not None and turn.challenger.facts["losses"]:
        pairs = (("challenger", turn.challenger), ("control", turn.control))
        charts.append(
            Chart(
                "Challenger and control, from the champion's weights",
                "step",
                "loss (nats per token)",
                tuple(
                    Line(name, tuple((e["step"], e["loss"]) for e in one.facts["losses"]))
                    for name, one in pairs
                ),
                "Each line is the loss on its own batches: the challenger's hold feedback too.",
            )
        )
    return tuple(charts)


def stored_scores(workspace: Workspace, made: Made) -> list[tuple[str, Score]]:
    """Every stored score with the name of the model that it was measured on.

    Raises IntegrityError for a score of weights that this run did not make or start from.
    """
    names = {
        artifact.facts["weight_hash"]: "base" if workspace.recipe.model.base else "5-gram"
        for artifact in workspace.store.lineage(made.evaluated.key)
        if artifact.manifest.stage in RIVAL_STAGES
    }
    names[made.model.facts["weight_hash"]] = "champion"
    folders = [made.evaluated.path]
    if made.compressed is not None:
        names[made.compressed.facts["weight_hash"]] = "champion, int8"
        folders.append(made.compressed.path)
    if made.turn is not None:
        hashes = made.turn.judged.facts["weight_hashes"]
        names |= {hashes["challenger"]: "challenger", hashes["control"]: "control"}
        folders.append(made.turn.judged.path)
    found = [
        score
        for folder in folders
        for score in read_scores(folder / "scores.json")
        if score.metric.endswith(".bits_per_byte")
    ]
    require_weights(found, names)
    return [(names[score.weight_hash], score) for score in found]


def _scores(scored: Sequence[tuple[str, Score]]) -> tuple[ScoreRow, ...]:
    """A row for each model and set of records."""
    rows: dict[tuple[str, str], ScoreRow] = {}
    for name, score in scored:
        records = _records_name(score.metric.split(".")[0])
        interval = Interval(score.value, score.low, score.high)
        rows[(score.weight_hash, records)] = ScoreRow(
            name, records, interval, score.num_records, score.weight_hash
        )
    return tuple(rows.values())


def _compression(compressed: Artifact | None) -> CompressionSection | None:
    if compressed is None:
        return None
    facts = compressed.facts
    return CompressionSection(
        compressed.manifest.settings["method"],
        facts["num_bytes_before"],
        facts["num_bytes"],
        gap_interval(facts["int8_minus_full"]),
    )


_SPEED = {  # what a score of speed is called, its unit, and how many of them make its own
    "first_token_s, median": ("time to the first token, median", "ms", 1e3),
    "first_token_s, p95": ("time to the first token, 95th percentile", "ms", 1e3),
    "answer_s, median": (f"an answer of at most {ANSWER_TOKENS} tokens, median", "ms", 1e3),
    "answer_s, p95": (f"an answer of at most {ANSWER_TOKENS} tokens, 95th percentile", "ms", 1e3),
    "tokens_per_s, median": ("tokens after the first, median", "tokens/s", 1.0),
    "peak_memory_bytes": ("memory held at most", "MB", 1e-6),
}


def speed_rows(made: Made) -> tuple[SpeedRow, ...]:
    """The stored scores of speed; raises IntegrityError for those of other weights."""
    scores = read_scores(made.timed.path / "scores.json")
    require_weights(scores, {made.model.facts["weight_hash"]})
    rows = []
    for score in scores:
        what, unit, scale = _SPEED[score.metric.removeprefix(f"{FAMILY}.")]
        value = Interval(score.value * scale, score.low * scale, score.high * scale)
        rows.append(
            SpeedRow(what, unit, value, score.num_records, score.weight_hash, score.machine)
        )
    return tuple(rows)


def _samples(made: Made) -> tuple[SampleRow, ...]:
    if made.conversation is None:
        return ()
    after: dict[str, str] = {}
    if made.swap is not None:
        rows: list[dict[str, Any]] = json.loads(
            (made.swap.path / "answers.json").read_text(encoding="utf-8")
        )
        after = {row["prompt"]: row["answer"] for row in rows}
    return tuple(
        SampleRow(one.passage.prompt, one.answer, after.get(one.passage.prompt, one.answer))
        for one in made.conversation.asked[:NUM_SAMPLES]
    )


def _differences(facts: dict[str, GapFacts]) -> tuple[DifferenceRow, ...]:
    return tuple(
        DifferenceRow(RECORDS_NAMES[name].removeprefix("held-out "), gap_interval(gap))
        for name, gap in facts.items()
    )
