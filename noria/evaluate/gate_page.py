"""The part of a report's page that shows what a gate decided, and what that rests on.

In: gate sections. Out: escaped markup. This module does not write files and decides nothing.
"""

from __future__ import annotations

from math import isfinite

from noria.evaluate.compare import signed
from noria.evaluate.contents import GateRow, GateSection, LimitRow
from noria.evaluate.page import Html, chip, element, join, section, table
from noria.evaluate.picture import interval_bar, interval_scale

PROMOTED, REFUSED = "promote", "refuse"
_KINDS = {"holds": "good", "broken": "bad", "worse": "bad", "not shown": "bad"}
_WORDS = {PROMOTED: ("promoted", "good"), REFUSED: ("refused", "bad")}


def gate_parts(gates: tuple[GateSection, ...]) -> Html:
    """Each gate's verdict, requirement by requirement."""
    return join(*(_gate(one) for one in gates))


def _gate(gate: GateSection) -> Html:
    word = chip(*_WORDS.get(gate.decision, (gate.decision, "plain")))
    verdict = element("p", word, " ", "; ".join(gate.reasons) + ".", class_="verdict")
    lead = (
        "Each difference is challenger minus rival, in the metric's own unit, and its interval has "
        "to end on the right side of the limit. Every requirement must hold, one metric must beat "
        "the champion, and no slice may be shown to be worse."
    )
    every = (*gate.requirements, *gate.gains, *gate.regressions)
    half = interval_scale([row.difference for row in every], [row.bound for row in every])
    budget = (
        f"Confidence of each interval: {gate.confidence:.2%}. This is read number "
        f"{gate.read_number} of the frozen set; it spends {gate.spent_alpha:.2%} of the "
        f"{gate.family_alpha:.0%} that all reads together may spend on false promotions. "
        "“Visible” is the smallest true difference that the set would have shown four times out "
        "of five; “would decide” is how many records it would take if the difference stays as it "
        "is."
    )
    tables = [
        _gate_table("Requirements: all must hold", gate.requirements, half),
        _gate_table("Better than the champion: one must hold", gate.gains, half),
    ]
    if gate.regressions:
        tables.append(_gate_table("Slices that are worse", gate.regressions, half))
    slices = f"{gate.num_slices} slices were compared, {len(gate.regressions)} are worse. "
    if gate.limits:
        tables.append(_limits(gate.limits))
    if gate.failed_prompts:
        failed = "Safety prompts that the challenger fails: " + ", ".join(gate.failed_prompts) + "."
        tables.append(element("p", failed))
    title = f"The gate: {gate.name}" if gate.name else "The gate"
    anchor = f"gate-{gate.name}" if gate.name else "gate"
    told = element("p", (slices if gate.num_slices else "") + budget, class_="quiet")
    return section(anchor, title, lead, verdict, *tables, told)


def _gate_table(label: str, found: tuple[GateRow, ...], half: float) -> Html:
    rows = []
    for row in found:
        kind, ends = _KINDS[row.word], row.difference
        rows.append(
            (
                element("code", row.requirement),
                chip(row.word, kind),
                signed(ends.value),
                f"{signed(ends.low)} to {signed(ends.high)}",
                interval_bar(ends, half, row.bound, kind),
                signed(row.bound) if row.bound else "0",
                f"{row.smallest_visible:.3f}" if isfinite(row.smallest_visible) else "–",
                f"{row.num_records:,}",
                f"{row.num_needed:,}" if row.num_needed is not None else "–",
            )
        )
    columns = (
        "requirement",
        "verdict",
        "#difference",
        "#interval",
        "around zero",
        "#limit",
        "#visible",
        "#records",
        "#would decide",
    )
    return join(element("h3", label), table(label, columns, rows))


def _limits(found: tuple[LimitRow, ...]) -> Html:
    rows = [
        (
            row.what,
            chip(*(("holds", "good") if row.passed else ("broken", "bad"))),
            f"{row.champion:.3g} {row.unit}",
            f"{row.challenger:.3g} {row.unit}",
            f"{row.most:g}",
        )
        for row in found
    ]
    label = "What it costs"
    columns = ("cost", "verdict", "#champion", "#challenger", "#times allowed")
    return join(element("h3", label), table(label, columns, rows))
