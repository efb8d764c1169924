"""Whose data it is: what was replaced, and how much of each kind is found in general.

In: counts by kind, and the stored measurement. Out: one section of a page. This module measures
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from noria.corpus.measured import MeasuredKind
from noria.evaluate.contents import IdentitiesSection
from noria.evaluate.page import Html, element, section, table

LEAD = (
    "Counts, never values. This lowers the risk, and does not make the text anonymous: what is "
    "missed stays, and people can be known by what they write."
)


def identities_part(one: IdentitiesSection | None) -> Html:
    """What was replaced in the text, by kind, and how much of each kind is found in general.

    A kind that is found whole, and never wrongly, in all texts is in one line with its like.
    """
    if one is None:
        return Html("")
    said = ", ".join(f"{kind} {count:,}" for kind, count in one.counts) or "nothing was found"
    note = element("p", element("strong", "Replaced: "), said, ". ", one.names, class_="note")
    told = f"What Noria finds, measured on {one.measured_on} on other texts than these. "
    kinds = sorted({row.kind for row in one.measured})
    whole = [kind for kind in kinds if _is_whole(kind, one.measured)]
    missed = [kind for kind in kinds if kind not in whole]
    return section(
        "identities",
        "Whose data it is",
        LEAD,
        note,
        element("p", told, _whole_line(whole, one.measured), class_="measured"),
        _missed_table(missed, one.measured),
    )


def _is_whole(kind: str, measured: Sequence[MeasuredKind]) -> bool:
    return all(row.recall == row.precision == 1 for row in measured if row.kind == kind)


def _whole_line(kinds: Sequence[str], measured: Sequence[MeasuredKind]) -> str:
    if not kinds:
        return ""
    counts = {kind: sum(row.there for row in measured if row.kind == kind) for kind in kinds}
    listed = ", ".join(f"{kind} {count:,}" for kind, count in counts.items())
    return f"All that was put in was found, and nothing wrongly, of: {listed}."


def _missed_table(kinds: Sequence[str], measured: Sequence[MeasuredKind]) -> Html:
    """A row for each kind, two columns for each set of texts: recall and precision."""
    if not kinds:
        return Html("")
    sets = sorted({row.texts for row in measured if row.kind in kinds})
    found = {(row.kind, row.texts): row for row in measured}
    rows = []
    for kind in kinds:
        cells = [kind]
        for texts in sets:
            row = found.get((kind, texts))
            cells.append(f"{row.recall:.1%} of {row.there:,}" if row else "–")
            cells.append(f"{row.precision:.1%}" if row else "–")
        rows.append(cells)
    columns = ["kind"]
    for texts in sets:
        columns += [f"#{texts}: found", "#rightly"]
    return table("What is found of each kind", columns, rows)
