"""The report of one turn of the loop: plain values in, one self-contained HTML page out.

The page needs no script and makes no request; every text in it is escaped. It is written for a
newcomer who has just seen `noria run` end. This module measures nothing: numbers and words come in.
"""

from __future__ import annotations

import time
from pathlib import Path

from noria.artifacts import atomic_write
from noria.evaluate.classes_page import classes_part, ways_part
from noria.evaluate.contents import (
    AuditRow,
    BaselineSection,
    CardSection,
    ClassesSection,
    CompressionSection,
    DataRow,
    DifferenceRow,
    FertilityRow,
    GateRow,
    GateSection,
    IdentitiesSection,
    LimitRow,
    MetricRow,
    NextCommand,
    QuarantineRow,
    Report,
    SampleRow,
    ScoreRow,
    SpeedRow,
    StageRow,
    WayRow,
    WaysSection,
)
from noria.evaluate.gate_page import gate_parts
from noria.evaluate.identities import identities_part
from noria.evaluate.metrics import Interval
from noria.evaluate.page import Html, document, element
from noria.evaluate.picture import Chart, Line, wheel
from noria.evaluate.sections import (
    afterwards_part,
    audit_part,
    breakdown_part,
    commands_part,
    compression_part,
    contributions_part,
    duration,
    fertility_part,
    learning_part,
    quality_part,
    quarantine_part,
    samples_part,
    size,
    speed_part,
    stages_part,
)

__all__ = [
    "AuditRow",
    "BaselineSection",
    "CardSection",
    "Chart",
    "ClassesSection",
    "CompressionSection",
    "DataRow",
    "DifferenceRow",
    "FertilityRow",
    "GateRow",
    "GateSection",
    "IdentitiesSection",
    "Interval",
    "LimitRow",
    "Line",
    "MetricRow",
    "NextCommand",
    "QuarantineRow",
    "Report",
    "SampleRow",
    "ScoreRow",
    "SpeedRow",
    "StageRow",
    "WayRow",
    "WaysSection",
    "render_report",
]


def render_report(report: Report, path: Path) -> None:
    """Write the report's page, whole or not at all."""
    parts = (
        _header(report),
        element(
            "main",
            stages_part(report),
            quarantine_part(report),
            fertility_part(report),
            identities_part(report.identities),
            learning_part(report),
            quality_part(report),
            ways_part(report),
            classes_part(report),
            breakdown_part(report),
            compression_part(report),
            speed_part(report),
            samples_part(report),
            contributions_part(report),
            gate_parts(report.gates),
            afterwards_part(report),
            audit_part(report),
            commands_part(report),
        ),
        element("footer", "Written by Noria. This page holds everything: no script, no request."),
    )
    page = document(f"{report.name}: report of a turn", *parts)
    atomic_write(path, page.encode("utf-8"))


def _header(report: Report) -> Html:
    made = time.strftime("%d %B %Y, %H:%M UTC", time.gmtime(report.made_at)).lstrip("0")
    words = element(
        "div",
        element("p", "Noria · report of a turn", class_="eyebrow"),
        element("h1", report.name),
        element("p", report.headline, class_="headline"),
        element("p", f"{made} · {report.machine}", class_="quiet"),
        _tiles(report),
    )
    centre = ["live", report.live_hash[:8]] if report.live_hash else ["no model", "is live"]
    # of an application's stages, `intent.data`, only the kind: a rim has no room for more
    kinds = dict.fromkeys(stage.name.rpartition(".")[2] for stage in report.stages)
    picture = wheel(list(kinds), centre)
    return element("header", words, picture)


def _tiles(report: Report) -> Html:
    total_s = sum(stage.elapsed_s for stage in report.stages if not stage.reused)
    facts: list[tuple[str, str]] = [("this run", duration(total_s))]
    if report.baseline is not None:
        facts.append(("bits per byte", f"{report.baseline.model:.3f}"))
    for way in report.ways:
        served = next(row for row in way.rows if row.served)
        facts.append((f"{way.name}: {way.metric.replace('_', ' ')}", f"{served.value.value:.3f}"))
    if report.compression is not None:
        facts.append(("compressed to", size(report.compression.bytes_after)))
    for gate in report.gates:
        facts.append((f"the gate said{f' of {gate.name}' if gate.name else ''}", gate.decision))
    pairs = (element("div", element("dt", name), element("dd", fact)) for name, fact in facts)
    return element("dl", *pairs, class_="tiles")
