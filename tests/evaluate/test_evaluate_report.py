from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from noria.corpus.measured import MeasuredKind
from noria.evaluate import report as report_module
from noria.evaluate.page import Html, element, join
from noria.evaluate.picture import apart, interval_bar, number, thin, ticks, wheel
from noria.evaluate.report import (
    AuditRow,
    BaselineSection,
    Chart,
    CompressionSection,
    DifferenceRow,
    FertilityRow,
    GateRow,
    GateSection,
    IdentitiesSection,
    Interval,
    LimitRow,
    Line,
    NextCommand,
    QuarantineRow,
    Report,
    SampleRow,
    ScoreRow,
    SpeedRow,
    StageRow,
    render_report,
)

HASH = "9f3ac21be77d40518b6ec1f0aa0914d39f3ac21be77d40518b6ec1f0aa0914d3"
EVIL = "<script>alert('x')</script>&\"'"
VOID = {"meta", "br", "hr", "img", "link", "input"}

LEAST = Report(
    "helpdesk", 0.0, "a laptop", "One turn is done.", "", (StageRow("a", "b", 1, 2, True),)
)


def full(text: str) -> Report:
    """A report with every part, in which every text is `text`."""
    row = GateRow(text, Interval(-0.2, -0.25, -0.15), 0.03, "holds", 0.05, 60, None)
    refused = replace(
        row, difference=Interval(0.1, 0.0, 0.2), word="not shown", bound=0.0, num_needed=900
    )
    curve = Line(text, tuple((float(i), 9.0 - i / 100) for i in range(500)))
    return Report(
        name=text,
        made_at=1_795_000_000.0,
        machine=text,
        headline=text,
        live_hash=text,
        stages=(StageRow(text, text, 12.34, 481_000_000, False), StageRow("b", "c", 1, 2, True)),
        quarantine=(QuarantineRow(text, 12, text, text), QuarantineRow("torn", 1, "a", "")),
        fertility=(FertilityRow(text, 1234, 3.21, 1.5, 0.75),),
        identities=IdentitiesSection(
            ((text, 7),), text, text, (MeasuredKind(text, text, 400, 0.9951, 0.75),)
        ),
        charts=(Chart(text, text, text, (curve, Line(text, ((3.0, 5.0),), dots=True)), text),),
        scores=(ScoreRow(text, text, Interval(1.512, 1.494, 1.531), 240, text),),
        baseline=BaselineSection("Transformer", text, 1.512, 1.295, Interval(0.217, 0.19, 0.24)),
        compression=CompressionSection(text, 8_600_000, 2_400_000, Interval(0.0007, 0, 0.001)),
        speed=(
            SpeedRow(text, "ms", Interval(12.3, 11.0, math.inf), 100, text, text),
            SpeedRow(text, "MB", Interval(481.0, 481.0, 481.0), 100, text, text),
        ),
        samples=(SampleRow(text, text, "other"), SampleRow(text, "", "")),
        breakdown=(DifferenceRow(text, Interval(-0.05, -0.08, -0.02)),),
        contributions=(DifferenceRow(text, Interval(-0.198, -0.235, -0.16)),),
        gates=(
            GateSection(
                "",
                "refuse",
                (row,),
                (refused,),
                (replace(refused, word="worse"),),
                7,
                (LimitRow(text, text, 1.0, 2.0, 1.5, False),),
                (text,),
                0.9696,
                0.05,
                0.0304,
                1,
            ),
        ),
        afterwards=(DifferenceRow(text, Interval(0.01, -0.02, 0.04)),),
        audit=(AuditRow(1_795_000_000.0, text, text, text, text),),
        next_commands=(NextCommand(text, text),),
    )


def page_of(report: Report, folder: Path) -> str:
    render_report(report, folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Collects tags and text; complains of a tag that is not closed in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def test_no_text_of_the_user_becomes_markup(tmp_path: Path) -> None:
    reader = read(page_of(full(EVIL), tmp_path))
    assert "script" not in {tag for tag, _ in reader.tags}
    assert "".join(reader.text).count("<script>alert") > 20


def test_the_page_needs_no_script_and_makes_no_request(tmp_path: Path) -> None:
    reader = read(page_of(full("plain"), tmp_path))
    assert not {tag for tag, _ in reader.tags} & {"script", "link", "img", "iframe", "object"}
    for _, attributes in reader.tags:
        assert not {"src", "href", "onclick", "onload", "style"} & attributes.keys()
    policy = [a for tag, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy[0]["content"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert "url(" not in page_of(full("plain"), tmp_path)


def test_every_part_is_on_the_page_and_empty_parts_are_not(tmp_path: Path) -> None:
    anchors = {
        "stages", "quarantine", "fertility", "learning", "quality", "breakdown", "compression",
        "samples", "feedback", "gate", "afterwards", "audit", "next",
        "identities", "speed",
    }  # fmt: skip
    everything = read(page_of(full("x"), tmp_path))
    assert {a["id"] for tag, a in everything.tags if tag == "section"} == anchors
    least = read(page_of(LEAST, tmp_path))
    assert {a["id"] for tag, a in least.tags if tag == "section"} == {"stages"}


def test_counts_and_measured_shares_of_identities_are_told_and_nothing_is_called_anonymous(
    tmp_path: Path,
) -> None:
    rows = (MeasuredKind("names, zh", "PERSON", 400, 0.9551, 0.875),)
    section = IdentitiesSection((("EMAIL", 1234),), "Names stay.", "2026-11-22", rows)
    words = " ".join(read(page_of(replace(LEAST, identities=section), tmp_path)).text)
    for said in ("EMAIL 1,234", "Names stay.", "2026-11-22", "95.5%", "87.5%", "names, zh"):
        assert said in words
    assert "does not make the text anonymous" in words
    assert words.count("anonymous") == 1


def test_kinds_that_are_found_whole_are_one_line_and_the_others_a_row_each(tmp_path: Path) -> None:
    rows = (
        MeasuredKind("form, en", "EMAIL", 400, 1.0, 1.0),
        MeasuredKind("form, zh", "EMAIL", 300, 1.0, 1.0),
        MeasuredKind("form, en", "PHONE", 400, 1.0, 0.9),
        MeasuredKind("names, zh", "PERSON", 400, 0.97, 1.0),
        MeasuredKind("form, en", "PERSON", 200, 1.0, 1.0),
    )
    section = IdentitiesSection((), "", "2026-11-22", rows)
    page = page_of(replace(LEAST, identities=section), tmp_path)
    words = " ".join(read(page).text)
    assert "nothing wrongly, of: EMAIL 700." in words and words.count("EMAIL") == 1
    table = page.split('aria-label="What is found of each kind"')[1].split("</table>")[0]
    assert table.count("<tr>") == 3 and "form, zh" not in table
    assert "97.0% of 400" in table and "90.0%" in table


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (Interval(0.2, 0.1, 0.3), "The 5-gram model is better than the Transformer"),
        (Interval(-0.2, -0.3, -0.1), "The Transformer is better than the 5-gram model"),
        (Interval(0.0, -0.1, 0.1), "No difference was seen"),
    ],
)
def test_the_page_says_plainly_which_model_is_better(
    difference: Interval, said: str, tmp_path: Path
) -> None:
    report = replace(
        LEAST, baseline=BaselineSection("Transformer", "5-gram model", 1.5, 1.4, difference)
    )
    assert said in page_of(report, tmp_path)


def test_a_hash_is_short_on_the_page_and_whole_in_its_title(tmp_path: Path) -> None:
    scores = (ScoreRow("champion", "held out", Interval(1.5, 1.4, 1.6), 240, HASH),)
    reader = read(page_of(replace(LEAST, scores=scores), tmp_path))
    titles = [a.get("title") for tag, a in reader.tags if tag == "code"]
    assert titles == [HASH]
    assert HASH[:12] in reader.text and HASH not in reader.text


def test_refusals_and_promotions_are_told_in_words_not_only_in_colour(tmp_path: Path) -> None:
    words = read(page_of(full("x"), tmp_path)).text
    assert {"refused", "holds", "not shown", "better", "no difference seen"} <= set(words)
    (gate,) = full("x").gates
    promoted = replace(full("x"), gates=(replace(gate, decision="promote"),))
    assert "promoted" in read(page_of(promoted, tmp_path)).text


def test_pictures_are_well_formed_svg_with_axes_units_and_direct_labels(tmp_path: Path) -> None:
    chart = Chart("Loss", "step", "nats per token", (Line("training", ((0, 8), (1000, 3.5))),))
    page = page_of(replace(LEAST, charts=(chart,)), tmp_path)
    drawings = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page)]
    texts = [{text for node in svg.iter("text") for text in node.itertext()} for svg in drawings]
    wide = texts[1]
    assert {"step", "nats per token", "training", "1,000", "8", "4"} <= wide


def test_a_line_chart_survives_one_point_equal_values_and_no_points(tmp_path: Path) -> None:
    lines = (Line("one", ((5.0, 2.0),)), Line("flat", ((0.0, 2.0), (9.0, 2.0))), Line("none", ()))
    page = page_of(replace(LEAST, charts=(Chart("a", "b", "c", lines),)), tmp_path)
    assert ">flat<" in page and "nan" not in page
    empty = page_of(replace(LEAST, charts=(Chart("a", "b", "c", ()),)), tmp_path)
    assert 'id="learning"' not in empty


def test_an_unbounded_interval_is_drawn_within_its_picture(tmp_path: Path) -> None:
    rows = (DifferenceRow("one record", Interval(0.1, float("-inf"), float("inf"))),)
    page = page_of(replace(LEAST, contributions=rows), tmp_path)
    assert "−∞ to +∞" in page and 'x1="0.0"' in page and 'x2="150.0"' in page
    assert "no difference seen" in page


@pytest.mark.parametrize(
    ("values", "about", "expected"),
    [
        ([0.0, 1160.0], 6, [0, 200, 400, 600, 800, 1000, 1200]),
        ([3.12, 3.98], 5, [3.0, 3.2, 3.4, 3.6, 3.8, 4.0]),
        ([2.0, 2.0], 5, [1.4, 1.6, 1.8, 2.0, 2.2, 2.4, 2.6]),
        ([-0.004, 0.005], 4, [-0.005, 0.0, 0.005]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(
    values: list[float], about: int, expected: list[float]
) -> None:
    assert ticks(values, about) == pytest.approx(expected)


def test_ticks_are_written_with_the_decimals_they_need() -> None:
    assert number(1000.0, [0, 200]) == "1,000"
    assert number(-0.05, [-0.05, 0.0]) == "−0.05"
    assert number(3.2, [3.0, 3.2]) == "3.2"


def test_labels_keep_their_distance_their_order_and_the_bounds() -> None:
    placed = apart([50.0, 51.0, 49.0, 98.0], 20.0, 100.0)
    assert sorted(placed) == [placed[2], placed[0], placed[1], placed[3]]
    gaps = [b - a for a, b in zip(sorted(placed), sorted(placed)[1:], strict=False)]
    assert min(gaps) >= 15.0 and max(placed) <= 100.0


def test_thinning_keeps_the_ends_and_the_means() -> None:
    points = [(float(i), float(i % 2)) for i in range(1000)]
    few = thin(points, 100)
    assert len(few) <= 100 and few[0] == points[0] and few[-1] == points[-1]
    assert all(0.3 < y < 0.7 for _, y in few[1:-1])
    assert thin(points[:50], 100) == points[:50]


def test_strings_are_escaped_and_only_markup_is_not() -> None:
    assert element("p", "<b>", element("i", "&"), title='"') == (
        '<p title="&quot;">&lt;b&gt;<i>&amp;</i></p>'
    )
    assert isinstance(join("<"), Html) and join("<") == "&lt;"
    assert "&lt;x&gt;" in wheel(["<x>"], ["y"])
    assert "bound" not in interval_bar(Interval(0, -1, 1), 1.0, 0.0, "plain")


def test_the_public_names_exist() -> None:
    assert all(hasattr(report_module, name) for name in report_module.__all__)


def test_fertility_is_shown_by_language_and_words_only_where_they_are_written_apart(
    tmp_path: Path,
) -> None:
    rows = (
        FertilityRow("English", 1000, 4.125, 1.375, 0.3),
        FertilityRow("Chinese", 500, 3.0, 88.0, 1.0625),
    )
    page = page_of(replace(LEAST, fertility=rows), tmp_path)
    assert "4.12" in page and "1.38" in page and "1.06" in page
    assert "88.00" not in page
    assert "How it reads" not in page_of(LEAST, tmp_path)
