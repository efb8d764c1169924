"""Bars as inline SVG: a distribution as columns, shares of one as a bar in a table's cell.

In: counts and labels. Out: SVG that takes its colours from the page. This module does not know what
is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from noria.evaluate.page import Html, element, figure

MIN_SHARE = 0.01  # of a bar's width: what is there at all is seen


@dataclass(frozen=True)
class Columns:
    """A distribution: `edges` are one more than `counts`; `note` says what a title can't."""

    title: str
    note: str
    unit: str
    edges: tuple[int, ...]
    counts: tuple[int, ...]


def column_chart(chart: Columns) -> Html:
    """The distribution as a figure with a caption, drawn wide and narrow as line charts are."""
    return figure(
        chart.title,
        chart.note,
        _columns(chart, 520.0, 220.0, "wide"),
        _columns(chart, 320.0, 210.0, "narrow"),
    )


def _columns(chart: Columns, width: float, height: float, kind: str) -> Html:
    left, right, top, bottom = 14.0, width - 20.0, 22.0, height - 42.0
    each = (right - left) / len(chart.counts)
    most = max(chart.counts)
    parts = []
    for index, count in enumerate(chart.counts):
        x = left + index * each
        tall = max(1.5 if count else 0.0, (bottom - top) * count / most)
        parts.append(_rectangle(x + 1.5, bottom - tall, each - 3, tall, "column"))
        if count:
            parts.append(_label(x + each / 2, bottom - tall - 6, short_number(count), "tick"))
    for index, edge in enumerate(chart.edges):
        parts.append(_label(left + index * each, bottom + 17, short_number(edge), "tick"))
    ground = {"x1": left, "x2": right, "y1": bottom, "y2": bottom}
    parts.append(
        element("line", class_="grid", **{key: f"{value:.1f}" for key, value in ground.items()})
    )
    parts.append(_label((left + right) / 2, height - 5, chart.unit, "axis"))
    pieces = ", ".join(
        f"{low:,} to {high:,}: {count:,}"
        for low, high, count in zip(chart.edges, chart.edges[1:], chart.counts, strict=False)
    )
    return element(
        "svg",
        *parts,
        viewBox=f"0 0 {width:g} {height:g}",
        class_=kind,
        role="img",
        aria_label=f"{chart.title}, in {chart.unit}. {pieces}",
    )


def share_bar(shares: Sequence[float]) -> Html:
    """Shares of one behind each other in one bar, coloured by their places: first, second, third.

    The numbers stand in the row's other cells, so the bar is hidden from who listens to the page.
    """
    width, height = 150.0, 12.0
    x, parts = 0.0, []
    for place, share in enumerate(shares, start=1):
        if share > 0:
            wide = min(max(share, MIN_SHARE), 1.0) * width
            parts.append(_rectangle(x, 0.0, wide, height, f"share-{place}"))
            x += wide
    return element(
        "svg", *parts, viewBox=f"0 0 {width:g} {height:g}", class_="share", aria_hidden="true"
    )


def short_number(value: int) -> str:
    """A count in at most five characters: 950, 1.2k, 38k, 4.1M."""
    number = float(value)
    for unit in ("", "k", "M", "G"):
        if number < 999.5 or unit == "G":
            digits = 1 if unit and number < 9.95 else 0
            return f"{number:.{digits}f}".removesuffix(".0") + unit
        number /= 1000
    raise AssertionError("the last unit takes every number")


def _rectangle(x: float, y: float, width: float, height: float, style: str) -> Html:
    sides = {"x": x, "y": y, "width": width, "height": height}
    return element("rect", class_=style, **{key: f"{value:.1f}" for key, value in sides.items()})


def _label(x: float, y: float, text: str, style: str) -> Html:
    return element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", class_=style, text_anchor="middle")
