"""The cards and the JSON of a report: the same values as the page, for people and programs.

In: a Report. Out: Markdown (after Mitchell et al. 2019, "Model Cards for Model Reporting"), and
plain JSON values. This module measures nothing and knows no file but the one that it writes.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from noria.artifacts import atomic_write
from noria.evaluate.compare import signed, verdict_of
from noria.evaluate.contents import CardSection, DifferenceRow, GateSection, Report
from noria.evaluate.metrics import Interval

REPORT_FORMAT = 1
_HASH_CHARACTERS = 12


def write_report_json(report: Report, path: Path) -> None:
    """Write every value of the report, whole or not at all; an infinite end is null."""
    value = {"format": REPORT_FORMAT, **_plain(asdict(report))}
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    atomic_write(path, text.encode("utf-8"))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_card(report: Report, path: Path) -> None:
    """Write the model card, whole or not at all."""
    atomic_write(path, card_markdown(report).encode("utf-8"))


def card_markdown(report: Report) -> str:
    """The model card; a part without values is left out."""
    made = time.strftime("%Y-%m-%d", time.gmtime(report.made_at))
    parts = [f"# {_text(report.name)}", "", f"{_text(report.headline)}", ""]
    live = f"`{report.live_hash}`" if report.live_hash else "none"
    parts += [f"Weights that are live: {live}. Written on {made} on {_text(report.machine)}.", ""]
    card = report.card
    if card is not None:
        parts += ["## Intended use", "", _text(card.intended_use), ""]
        parts += _list("Reviews that were signed", card.reviews)
        parts += _data(card)
    parts += _metrics(report)
    parts += _ways(report)
    parts += _groups("Metrics by group", report, report.breakdown)
    parts += _speed(report)
    for gate in report.gates:
        parts += _gate(gate)
    if card is not None:
        parts += _list("Contamination", card.contamination)
        parts += _list("Limits", card.limits)
        parts += _list("What was not measured", card.not_measured)
    return "\n".join(parts).rstrip() + "\n"


def write_data_card(report: Report, path: Path) -> None:
    """Write the data card, whole or not at all."""
    atomic_write(path, data_card_markdown(report).encode("utf-8"))


def data_card_markdown(report: Report) -> str:
    """What the model learned from, after Gebru et al. 2021, "Datasheets for Datasets".

    Sources and licences, what was left out and why, what tokens cost by language, which identities
    were replaced, what of the tests was in the training text; a part without values is left out.
    """
    parts = [f"# {_text(report.name)}", ""]
    if report.card is not None:
        parts += _data(report.card)
    parts += _left_out(report)
    if report.identities is not None:
        lines = [f"{kind}: {count:,}" for kind, count in report.identities.counts]
        parts += _list("Identities replaced", [report.identities.names, *lines])
    rows = [
        (_text(row.language), f"{row.num_tokens:,}", f"{row.bytes_per_token:.2f}")
        for row in report.fertility
    ]
    if rows:
        columns = ("language", "#tokens", "#bytes a token")
        parts += ["## Tokens", "", *_table(columns, rows)]
    if report.card is not None:
        parts += _list("Contamination", report.card.contamination)
    return "\n".join(parts).rstrip() + "\n"


def _left_out(report: Report) -> list[str]:
    rows = [(_text(row.reason), f"{row.count:,}", _text(row.place)) for row in report.quarantine]
    return ["## Left out", "", *_table(("why", "#pieces", "the first"), rows)] if rows else []


def _text(text: str) -> str:
    """Text as Markdown that shows it as it is: on one line, without markup of its own."""
    flat = " ".join(text.split())
    return "".join(f"\\{one}" if one in "\\`*_{}[]<>#|" else one for one in flat)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A column whose name begins with `#` holds numbers and is set to the right."""
    rule = "|".join("---:" if name.startswith("#") else "---" for name in columns)
    lines = [f"| {' | '.join(name.removeprefix('#') for name in columns)} |", f"|{rule}|"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def _list(title: str, sentences: Sequence[str]) -> list[str]:
    return [f"## {title}", "", *(f"- {_text(one)}" for one in sentences), ""] if sentences else []


def _data(card: CardSection) -> list[str]:
    if not card.data:
        return []
    columns = ("source", "language", "licence as stated", "#to train on", "#held out", "#test")
    rows = [
        (
            _text(row.source),
            _text(row.language),
            _text(row.licence),
            f"{row.train:,}",
            f"{row.held_out:,}",
            f"{row.test:,}",
        )
        for row in card.data
    ]
    told = "Records of each source and language; texts of one group are on one side of the split."
    return ["## Data and licences", "", told, "", *_table(columns, rows)]


def _interval(interval: Interval, decimals: int = 3) -> str:
    ends = (f"{one:.{decimals}f}".replace("-", "−") for one in (interval.low, interval.high))
    return " to ".join(ends).replace("inf", "∞")


def _metrics(report: Report) -> list[str]:
    rows = [
        (
            _text(row.model),
            "bits per byte",
            _text(row.records),
            f"{row.value.value:.3f}",
            _interval(row.value),
            f"{row.num_records:,}",
            f"`{row.weight_hash[:_HASH_CHARACTERS]}`",
        )
        for row in report.scores
    ]
    for one in report.classes:
        rows += [
            (
                _text(one.name),
                row.metric.replace("_", " "),
                _text(row.label) or "all",
                f"{row.value.value:.3f}",
                _interval(row.value),
                f"{row.num_records:,}",
                f"`{row.weight_hash[:_HASH_CHARACTERS]}`",
            )
            for row in one.metrics
            if not row.label or row.metric == "f1"  # the JSON has every label's precision too
        ]
    if not rows:
        return []
    columns = ("model", "metric", "on", "#value", "#95% interval", "#records", "weights")
    return ["## Metrics", "", *_table(columns, rows)]


def _ways(report: Report) -> list[str]:
    """Every way to each application, what it is worth and what it costs."""
    lines: list[str] = []
    for one in report.ways:
        rows = [
            (
                _text(row.name) + (" (served)" if row.served else ""),
                f"{row.value.value:.3f}",
                _interval(row.value),
                f"{signed(row.against.value)} ({_interval(row.against)}), {row.verdict}"
                if row.against
                else "–",
                f"{row.train_s:,.1f} s",
                f"{row.latency_s * 1e3:.1f} ms",
                f"{row.latency_p95_s * 1e3:.1f} ms",
                f"{row.num_bytes / 1e6:.1f} MB",
            )
            for row in one.rows
        ]
        metric = one.metric.replace("_", " ")
        columns = (
            *("way", f"#{metric}", "#95% interval", "against the baseline", "#training"),
            *("#one answer", "#1 in 20", "#size"),
        )
        told = f"{one.num_records:,} texts of the test. {' '.join(map(_text, one.remarks))}"
        heading = f"## Does the Transformer earn its cost? {_text(one.name)}"
        lines += [heading, "", told, "", *_table(columns, rows)]
    return lines


def _groups(title: str, report: Report, found: Sequence[DifferenceRow]) -> list[str]:
    if not found:
        return []
    baseline = report.baseline
    pair = f"{baseline.subject} minus {baseline.name}" if baseline else "model minus rival"
    rows = [
        (
            _text(row.what),
            signed(row.difference.value),
            f"{signed(row.difference.low)} to {signed(row.difference.high)}",
            verdict_of(row.difference),
        )
        for row in found
    ]
    told = f"{_text(pair)}, in bits per byte; below zero is better."
    columns = ("on", "#difference", "#95% interval", "verdict")
    return [f"## {title}", "", told, "", *_table(columns, rows)]


def _speed(report: Report) -> list[str]:
    if not report.speed:
        return []
    first = report.speed[0]
    told = (
        f"{first.num_answers:,} answers, one after another, without a network, on "
        f"{_text(first.machine)}."
    )
    rows = [
        (
            _text(row.what),
            f"{row.value.value:,.1f} {_text(row.unit)}",
            _interval(row.value, 1) if row.value.low < row.value.high else "one reading",
            f"`{row.weight_hash[:_HASH_CHARACTERS]}`",
        )
        for row in report.speed
    ]
    columns = ("what", "#measured", "#95% interval", "weights")
    return ["## Speed and memory", "", told, "", *_table(columns, rows)]


def _gate(gate: GateSection) -> list[str]:
    of = f" of {_text(gate.name)}" if gate.name else ""
    return _list(f"The gate said{of}: {gate.decision}", gate.reasons)
