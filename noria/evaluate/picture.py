"""Pictures as inline SVG: line charts, interval bars, and the wheel of stages.

In: points and labels. Out: SVG that takes its colours from the page, in light and in dark.
A chart is drawn twice, wide and narrow, and the page shows the one that fits, so that text keeps
its size on a phone. This module does not know what the numbers mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from noria.evaluate.metrics import Interval
from noria.evaluate.page import Html, element, figure, join

MAX_POINTS = 160  # of one drawn line; more are averaged in runs of neighbours
NUM_COLOURS = 4
_CHARACTER = 6.6  # mean width in pixels at the charts' 12 px type
_ROW = 15.0  # least distance between two labels


@dataclass(frozen=True)
class Line:
    """One line of a chart; `points` are (x, y). `dots` marks each, for few measured values."""

    label: str
    points: tuple[tuple[float, float], ...]
    dots: bool = False


@dataclass(frozen=True)
class Chart:
    """A chart with its units: `x_label` such as "step", `y_label` such as "nats per token"."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    note: str = ""


def line_chart(chart: Chart) -> Html:
    """The chart as a figure with a caption; lines without points are left out."""
    lines = [line for line in chart.lines if line.points]
    if not lines:
        return Html("")
    return figure(
        chart.title,
        chart.note,
        _draw(chart, lines, 520.0, 290.0, "wide"),
        _draw(chart, lines, 320.0, 250.0, "narrow"),
    )


def _draw(chart: Chart, lines: Sequence[Line], width: float, height: float, kind: str) -> Html:
    longest = max(len(line.label) for line in lines)
    left, top, bottom = 44.0, 26.0, height - 42.0
    right = width - min(longest * _CHARACTER + 18.0, 0.36 * width)
    drawn = [thin(line.points, MAX_POINTS) for line in lines]
    x_low, x_high = _range([x for points in drawn for x, _ in points])
    x_ticks = [x for x in ticks([x_low, x_high], 6) if x_low <= x <= x_high]
    y_ticks = ticks([y for points in drawn for _, y in points], 5)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low)
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        return left + across * (right - left), bottom - up * (bottom - top)

    parts = [_text(left - 38, 12, chart.y_label, "axis", "start")]
    for tick in y_ticks:
        y = place(x_low, tick)[1]
        parts.append(_stroke(left, y, right, y, "grid"))
        parts.append(_text(left - 8, y + 4, number(tick, y_ticks), "tick", "end"))
    for tick in x_ticks:
        x = place(tick, y_ticks[0])[0]
        parts.append(_stroke(x, bottom, x, bottom + 5, "grid"))
        parts.append(_text(x, bottom + 18, number(tick, x_ticks), "tick", "middle"))
    parts.append(_text((left + right) / 2, height - 5, chart.x_label, "axis", "middle"))
    ends = []
    for index, (line, points) in enumerate(zip(lines, drawn, strict=True)):
        placed = [place(x, y) for x, y in points]
        parts.append(_line(line, placed, index))
        ends.append(placed[-1][1])
    most = int((width - right - 14) / _CHARACTER)
    for index, (line, y) in enumerate(zip(lines, apart(ends, top, bottom), strict=True)):
        parts.append(_end_label(line.label, most, right + 8, y, index))
    summary = f"{chart.title}: {', '.join(line.label for line in lines)}"
    return element(
        "svg",
        *parts,
        viewBox=f"0 0 {width:g} {height:g}",
        class_=kind,
        role="img",
        aria_label=summary,
    )


def _line(line: Line, placed: Sequence[tuple[float, float]], index: int) -> Html:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    style = f"line-{index % NUM_COLOURS + 1}"
    marks = [Html("")]
    if line.dots or len(placed) == 1:
        style += " dotted"
        marks = [element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="3.5") for x, y in placed]
    return element("g", element("polyline", points=points), *marks, class_=f"line {style}")


def _end_label(label: str, most: int, x: float, y: float, index: int) -> Html:
    shown = label if len(label) <= most else label[: most - 1] + "…"
    title = element("title", label)
    style = f"label line-{index % NUM_COLOURS + 1}"
    return element("text", title, shown, x=f"{x:.1f}", y=f"{y + 4:.1f}", class_=style)


def _text(x: float, y: float, text: str, style: str, anchor: str) -> Html:
    return element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", class_=style, text_anchor=anchor)


def _stroke(x1: float, y1: float, x2: float, y2: float, style: str) -> Html:
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return element("line", class_=style, **{key: f"{value:.1f}" for key, value in ends.items()})


def thin(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """At most `most` points: means of runs of neighbours; the first and the last stay."""
    if len(points) <= most:
        return list(points)
    run = math.ceil((len(points) - 2) / (most - 2))
    inner = points[1:-1]
    means = []
    for start in range(0, len(inner), run):
        some = inner[start : start + run]
        means.append((sum(x for x, _ in some) / len(some), sum(y for _, y in some) / len(some)))
    return [points[0], *means, points[-1]]


def ticks(values: Sequence[float], about: int) -> list[float]:
    """Round, evenly spaced numbers that enclose the values: steps of 1, 2 or 5 times 10^n."""
    low, high = _range(values)
    rough = (high - low) / about
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Least and greatest value; a little around it if there is only one."""
    low, high = min(values), max(values)
    return (low, high) if high - low > abs(high) * 1e-9 else (low - 0.5, high + 0.5)


def number(value: float, among: Sequence[float]) -> str:
    """A tick as text, with as many decimals as its neighbours need, thousands apart."""
    step = among[1] - among[0]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{decimals}f}".replace("-", "−")


def apart(wanted: Sequence[float], top: float, bottom: float) -> list[float]:
    """Heights near the wanted ones, at least a row apart, in the same order, within bounds."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    placed = list(wanted)
    floor = top
    for index in order:
        placed[index] = max(wanted[index], floor)
        floor = placed[index] + _ROW
    ceiling = bottom
    for index in reversed(order):
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - _ROW
    return placed


def interval_scale(intervals: Sequence[Interval], bounds: Sequence[float] = ()) -> float:
    """Half the width that interval bars of one table share, so that they can be compared."""
    ends = [abs(end) for one in intervals for end in (one.value, one.low, one.high)]
    return max([end for end in (*ends, *bounds) if math.isfinite(end)] + [1e-6]) * 1.08


def interval_bar(interval: Interval, half: float, bound: float | None, kind: str) -> Html:
    """A difference as a bar with a dot on a scale from -half to half around zero.

    `bound` draws where the bar's right end may not reach; kind is good, bad or plain.
    """
    width, height = 150.0, 22.0

    def place(value: float) -> float:
        return width / 2 * (1 + max(-1.0, min(1.0, value / half)))

    middle = height / 2
    parts = [_stroke(place(0), 1, place(0), height - 1, "zero")]
    if bound:
        parts.append(_stroke(place(bound), 3, place(bound), height - 3, "bound"))
    parts.append(_stroke(place(interval.low), middle, place(interval.high), middle, "span"))
    parts.append(element("circle", cx=f"{place(interval.value):.1f}", cy=f"{middle:g}", r="4"))
    return element(
        "svg",
        *parts,
        viewBox=f"-4 0 {width + 8:g} {height:g}",
        class_=f"interval {kind}",
        aria_hidden="true",
    )


def wheel(names: Sequence[str], centre: Sequence[str]) -> Html:
    """The loop as a water wheel: stages clockwise from the top, a few words in the middle."""
    x0, y0, radius = 180.0, 158.0, 96.0
    num = max(1, len(names))
    ring = {"cx": f"{x0:g}", "cy": f"{y0:g}"}
    parts = [
        element(
            "path",
            class_="water",
            d="M34 288 q 18 -11 36.5 0 t 36.5 0 36.5 0 36.5 0 36.5 0 36.5 0 36.5 0 36.5 0",
        ),
        element("circle", r=f"{radius:g}", class_="rim", **ring),
        element("circle", r="52", class_="hub", **ring),
    ]
    for index, name in enumerate(names):
        angle = 2 * math.pi * index / num - math.pi / 2
        half = angle + math.pi / num
        cosine, sine = math.cos(angle), math.sin(angle)
        parts.append(
            _stroke(
                x0 + 52 * cosine, y0 + 52 * sine, x0 + radius * cosine, y0 + radius * sine, "spoke"
            )
        )
        parts.append(_arrow(x0 + radius * math.cos(half), y0 + radius * math.sin(half), half))
        parts.append(
            element(
                "circle",
                cx=f"{x0 + radius * cosine:.1f}",
                cy=f"{y0 + radius * sine:.1f}",
                r="5.5",
                class_="bucket",
            )
        )
        anchor = "middle" if abs(cosine) < 0.12 else "start" if cosine > 0 else "end"
        away = radius + 13
        y = y0 + away * sine + (4 if abs(cosine) >= 0.12 else 8 if sine > 0 else -2)
        parts.append(_text(x0 + away * cosine, y, name, "stage", anchor))
    for row, text in enumerate(centre):
        y = y0 + 5 + 17 * (row - (len(centre) - 1) / 2)
        parts.append(_text(x0, y, text, "centre" if row == 0 else "centre small", "middle"))
    label = f"The loop: {', '.join(names)}, and round again"
    return element(
        "svg", join(*parts), viewBox="0 0 360 306", class_="wheel", role="img", aria_label=label
    )


def _arrow(x: float, y: float, angle: float) -> Html:
    """A small head on the rim that points clockwise."""
    turn = math.degrees(angle) + 90
    return element(
        "path",
        d="M-3 -3.5 L4 0 L-3 3.5",
        class_="arrow",
        transform=f"translate({x:.1f} {y:.1f}) rotate({turn:.1f})",
    )
