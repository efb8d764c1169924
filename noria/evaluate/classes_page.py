"""What a classifier does, as a part of the page: metrics, confusion matrix, reliability diagram.

In: a ClassesSection. Out: escaped markup and SVG that takes its colours from the page. A number
stands in every cell of the matrix, since shades alone can't be read by everyone.
Legend: N classes that are shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from unicodedata import east_asian_width

from noria.evaluate.compare import signed
from noria.evaluate.confusion import Bin, Confused
from noria.evaluate.contents import ClassesSection, MetricRow, Report, WayRow
from noria.evaluate.page import Html, chip, element, figure, join, section, short_hash, table

MAX_SHOWN = 12  # classes of one matrix; of more, those that are taken for others most often
MAX_PAIRS = 10
OTHERS = "(others)"
_CELL, _LABEL, _TOP = 34.0, 124.0, 30.0
_LEAST_WIDTH = 500.0  # of the drawing: a few classes are not blown up to fill the page
_CHARACTERS = 15  # of a label beside the matrix


def classes_part(report: Report) -> Html:
    """Each classifier: a table of its metrics, two pictures, and its most frequent mistakes."""
    parts = []
    for one in report.classes:
        parts += [element("h3", one.name), _metrics(one)]
        if one.confused:
            pictures = confusion_picture(one), reliability_picture(one.bins)
            parts += [element("div", *pictures, class_="charts"), _mistakes(one.confused)]
    lead = (
        "Measured on texts that it was not trained on, with 95% intervals. Every mistake stands "
        "outside the diagonal of the matrix."
    )
    return section("classes", "How it answers", lead, *parts) if parts else Html("")


def ways_part(report: Report) -> Html:
    """Each application: every way to a model side by side, what it is worth and what it costs."""
    parts = []
    for one in report.ways:
        rows = [_way(row) for row in one.rows]
        metric = one.metric.replace("_", " ")
        columns = (
            *("way", f"#{metric}", "#interval", "against the baseline", "#training s"),
            *("#one answer ms", "#1 in 20 ms", "#MB", "#peak MB", "weights"),
        )
        told = join(*(element("p", remark, class_="note") for remark in one.remarks))
        parts += [element("h3", one.name), table(f"Ways to {one.name}", columns, rows), told]
    lead = (
        "Every way was given the same rows, of which a slow one uses what its time allows, and "
        "measured on the same test, which chose none of them. A difference is the way's less the "
        "baseline's, with its 95% interval."
    )
    return section("ways", "Does the Transformer earn its cost?", lead, *parts) if parts else join()


def _way(row: WayRow) -> tuple[str, ...]:
    against: str = "–"
    if row.against is not None:
        ends = f"{signed(row.against.low)} to {signed(row.against.high)}"
        against = f"{signed(row.against.value)} ({ends}): {row.verdict}"
    return (
        join(row.name, " ", chip("served", "good")) if row.served else row.name,
        f"{row.value.value:.3f}",
        f"{row.value.low:.3f} to {row.value.high:.3f}",
        against,
        f"{row.train_s:,.1f}",
        f"{row.latency_s * 1e3:.1f}",
        f"{row.latency_p95_s * 1e3:.1f}",
        f"{row.num_bytes / 1e6:.1f}",
        f"{row.peak_bytes / 1e6:,.0f}",
        short_hash(row.weight_hash),
    )


def _metrics(one: ClassesSection) -> Html:
    rows = [
        (
            row.metric.replace("_", " "),
            row.label or "all",
            f"{row.value.value:.3f}",
            f"{row.value.low:.3f} to {row.value.high:.3f}",
            f"{row.num_records:,}",
            short_hash(row.weight_hash),
        )
        for row in _shown_metrics(one)
    ]
    columns = ("metric", "of", "#value", "#interval", "#texts", "weights")
    return table(f"Metrics of {one.name}", columns, rows)


def _shown_metrics(one: ClassesSection) -> list[MetricRow]:
    """All of the whole, and F1 of each class that the matrix shows."""
    shown = set(shown_labels(one))
    whole = [row for row in one.metrics if not row.label]
    return whole + [row for row in one.metrics if row.metric == "f1" and row.label in shown]


def shown_labels(one: ClassesSection) -> list[str]:
    """The labels of the matrix, in their order: all, or those with the most mistakes."""
    names = {name for pair in one.confused for name in (pair.gold, pair.predicted)}
    labels = [*one.labels, *sorted(names - set(one.labels))]
    if len(labels) <= MAX_SHOWN:
        return labels
    wrong: Counter[str] = Counter()
    for pair in one.confused:
        if pair.gold != pair.predicted:
            wrong[pair.gold] += pair.count
            wrong[pair.predicted] += pair.count
    kept = sorted(labels, key=lambda label: -wrong[label])[: MAX_SHOWN - 1]
    return [label for label in labels if label in kept]


def confusion_picture(one: ClassesSection) -> Html:
    """The confusion matrix: gold classes as rows, answers as columns, each row shaded by share."""
    labels = shown_labels(one)
    names = [*labels, OTHERS] if set(one.labels) - set(labels) else labels
    place = {name: index for index, name in enumerate(names)}
    counts = [[0] * len(names) for _ in names]
    for pair in one.confused:
        row, column = (place.get(n, len(names) - 1) for n in (pair.gold, pair.predicted))
        counts[row][column] += pair.count
    width = max(_LABEL + _CELL * len(names) + 48, _LEAST_WIDTH)
    top = _TOP + _LABEL * 0.62
    parts = [element("text", "it is", x="4", y=f"{top - 8:g}", class_="axis")]
    parts.append(element("text", "taken for", x=f"{_LABEL:g}", y="14", class_="axis"))
    for index, name in enumerate(names):
        parts += _cells(counts[index], index, top)
        y, x = top + _CELL * (index + 0.5) + 4, _LABEL + _CELL * (index + 0.5)
        side = {"x": f"{_LABEL - 8:g}", "y": f"{y:g}", "text_anchor": "end", "class_": "tick"}
        parts.append(element("text", element("title", name), _short(name), **side))
        turned = f"translate({x + 4:g} {top - 8:g}) rotate(-50)"
        parts.append(
            element("text", element("title", name), _short(name), class_="tick", transform=turned)
        )
    drawing = element(
        "svg",
        *parts,
        viewBox=f"0 0 {width:g} {top + _CELL * len(names) + 6:g}",
        class_="matrix",
        role="img",
        aria_label=f"Confusion matrix of {one.name}: {', '.join(names)}",
    )
    told = "Rows are what the texts are, columns what they were taken for; shades are of the row."
    return figure("Confusion", told, drawing)


def _cells(counts: Sequence[int], index: int, top: float) -> list[Html]:
    """One row of the matrix; a count of nothing is left empty."""
    total = sum(counts)
    found = []
    for column, count in enumerate(counts):
        x, y = _LABEL + _CELL * column, top + _CELL * index
        kind = "right" if column == index else "wrong"
        box = {"x": f"{x + 1:g}", "y": f"{y + 1:g}", "rx": "3", "class_": f"cell {kind}"}
        size = {"width": f"{_CELL - 2:g}", "height": f"{_CELL - 2:g}"}
        shade = f"{0.06 + 0.7 * count / total if count else 0:.2f}"
        found.append(element("rect", fill_opacity=shade, **box, **size))
        if count:
            middle = {"x": f"{x + _CELL / 2:g}", "y": f"{y + _CELL / 2 + 4:g}"}
            found.append(
                element("text", f"{count:,}", text_anchor="middle", class_="count", **middle)
            )
    return found


def _short(name: str) -> str:
    """The name, cut to the room that it has; a Chinese character is two letters wide."""
    room = _CHARACTERS
    for index, character in enumerate(name):
        room -= 2 if east_asian_width(character) in "WF" else 1
        if room < 0:
            return name[: max(1, index - 1)] + "…"
    return name


def reliability_picture(bins: Sequence[Bin]) -> Html:
    """Stated confidence across, how often that was right upwards, each bin with its interval."""
    if not bins:
        return Html("")
    left, top, side = 44.0, 26.0, 250.0

    def place(x: float, y: float) -> tuple[float, float]:
        return left + side * x, top + side * (1 - y)

    parts = [element("text", "right", x="6", y="12", class_="axis")]
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        x, y = place(tick, tick)
        parts.append(_stroke(left, y, left + side, y, "grid"))
        parts.append(_stroke(x, top + side, x, top + side + 5, "grid"))
        parts.append(_number(left - 8, y + 4, f"{tick:.0%}", "end"))
        parts.append(_number(x, top + side + 18, f"{tick:.0%}", "middle"))
    parts.append(_stroke(*place(0, 0), *place(1, 1), "ideal"))
    most = max(one.count for one in bins)
    for one in bins:
        x, low = place(one.confidence, one.right.low)
        parts.append(_stroke(x, low, x, place(0, one.right.high)[1], "span"))
        radius = 2.5 + 3.5 * (one.count / most) ** 0.5
        y = place(0, one.right.value)[1]
        told = f"{one.count:,} texts at {one.confidence:.0%}: {one.right.value:.0%} right"
        where = {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": f"{radius:.1f}"}
        parts.append(element("circle", element("title", told), **where))
    middle = {"x": f"{left + side / 2:g}", "y": f"{top + side + 37:g}", "text_anchor": "middle"}
    parts.append(element("text", "stated confidence", class_="axis", **middle))
    drawing = element(
        "svg",
        *parts,
        viewBox=f"0 0 {left + side + 20:g} {top + side + 44:g}",
        class_="reliability",
        role="img",
        aria_label="Reliability: stated confidence, and how often it was right",
    )
    told = "On the dashed line confidence is what it says; below it, the model is too sure."
    return figure("Reliability", told, drawing)


def _stroke(x1: float, y1: float, x2: float, y2: float, style: str) -> Html:
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return element("line", class_=style, **{key: f"{value:.1f}" for key, value in ends.items()})


def _number(x: float, y: float, text: str, anchor: str) -> Html:
    return element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", class_="tick", text_anchor=anchor)


def _mistakes(confused: Sequence[Confused]) -> Html:
    """The pairs of classes that are mistaken most often."""
    wrong = [pair for pair in confused if pair.gold != pair.predicted]
    if not wrong:
        return Html("")
    wrong.sort(key=lambda pair: -pair.count)
    rows = [(pair.gold, pair.predicted, f"{pair.count:,}") for pair in wrong[:MAX_PAIRS]]
    columns = ("it is", "taken for", "#texts")
    heading = element("h3", "Most frequent mistakes")
    return join(heading, table("Most frequent mistakes", columns, rows))
