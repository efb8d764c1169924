"""The card, the JSON and the pictures of a classifier hold the same numbers as the page."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from noria.evaluate.card import card_markdown, data_card_markdown, write_report_json
from noria.evaluate.classes import NONE, Classified
from noria.evaluate.classes_page import OTHERS, confusion_picture, reliability_picture
from noria.evaluate.confusion import NOTHING
from noria.evaluate.contents import (
    BaselineSection,
    CardSection,
    ClassesSection,
    DataRow,
    DifferenceRow,
    FertilityRow,
    IdentitiesSection,
    QuarantineRow,
    Report,
    ScoreRow,
    SpeedRow,
    StageRow,
)
from noria.evaluate.metrics import Interval
from noria.evaluate.report import render_report
from noria.evaluate.results import Provenance, Result, classes_section
from noria.evaluate.spans import SpanAnswers
from noria.records import Labelled, Source, text_content

EVIL = "<b>|`*[x](y)_#\n# title"
CARD = CardSection(
    EVIL,
    (DataRow("package:a", "en", "MIT", 1200, 30, 20),),
    ("It can be wrong.",),
    ("3 training records were left out.",),
    ("Fairness.",),
)
STAGES = (StageRow("a", "b", 1, 2, True),)
REPORT = Report("helpdesk", 1.79e9, "a laptop", "One turn.", "ab" * 32, STAGES)


def section(num_classes: int, num: int = 300) -> ClassesSection:
    draw = np.random.default_rng(0)
    gold = draw.integers(0, num_classes, num)
    scores = draw.normal(size=(num, num_classes)) + 3 * np.eye(num_classes)[gold]
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    gold[:20] = NONE
    labels = tuple(f"意图 <{index}> & more of a name" for index in range(num_classes))
    records = tuple(Labelled(text_content(f"t{i}"), (), Source("a.csv", i)) for i in range(num))
    made_by = Provenance("ab" * 32, "", 1, "torch", 1.79e9)
    answers = Classified(labels, gold, probabilities, 0.4)
    return classes_section("intent", Result(answers, records, made_by))


@pytest.fixture(scope="module")
def classes() -> ClassesSection:
    return section(4)


def test_the_page_the_card_and_the_json_hold_the_same_numbers(
    classes: ClassesSection, tmp_path: Path
) -> None:
    scores = (ScoreRow("champion", "held out", Interval(1.512, -math.inf, math.inf), 1, "cd" * 32),)
    report = replace(REPORT, classes=(classes,), scores=scores, card=CARD)
    render_report(report, tmp_path / "report.html")
    write_report_json(report, tmp_path / "report.json")
    page, card = (tmp_path / "report.html").read_text(encoding="utf-8"), card_markdown(report)
    told = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert told["scores"][0]["value"] == {"value": 1.512, "low": None, "high": None}
    assert "−∞ to ∞" in card
    rows = told["classes"][0]["metrics"]
    assert {row["metric"] for row in rows} >= {"accuracy", "macro_f1", "mcc", "brier", "coverage"}
    for row in rows:
        value = f"{row['value']['value']:.3f}"
        if not row["label"] or row["metric"] == "f1":
            assert f'<td class="number">{value}</td>' in page and f"| {value} |" in card


def test_speed_is_told_with_its_machine_and_an_open_end(tmp_path: Path) -> None:
    speed = (
        SpeedRow(
            "first token, median", "ms", Interval(12.34, 11.0, 13.5), 20, "cd" * 32, "a laptop"
        ),
        SpeedRow(
            "first token, p95", "ms", Interval(20.0, 15.0, math.inf), 20, "cd" * 32, "a laptop"
        ),
        SpeedRow("memory", "MB", Interval(481.0, 481.0, 481.0), 20, "cd" * 32, "a laptop"),
    )
    report = replace(REPORT, speed=speed)
    card = card_markdown(report)
    assert "20 answers, one after another, without a network, on a laptop." in card
    assert "| first token, median | 12.3 ms | 11.0 to 13.5 | `cdcdcdcdcdcd` |" in card
    assert "| first token, p95 | 20.0 ms | 15.0 to ∞ |" in card
    assert "| memory | 481.0 MB | one reading |" in card
    render_report(report, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "15.0 to ∞" in page and "a laptop" in page
    write_report_json(report, tmp_path / "report.json")
    told = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert told["speed"][1]["value"] == {"value": 20.0, "low": 15.0, "high": None}


def test_the_card_says_what_it_has_to_and_text_stays_text() -> None:
    differences = (DifferenceRow("corpus, zh", Interval(-0.05, -0.08, -0.02)),)
    baseline = BaselineSection("Transformer", "5-gram", 1.5, 1.6, Interval(-0.1, -0.2, -0.05))
    card = card_markdown(replace(REPORT, card=CARD, breakdown=differences, baseline=baseline))
    titles = re.findall("^## (.*)$", card, flags=re.MULTILINE)
    assert titles == [
        "Intended use", "Data and licences", "Metrics by group", "Contamination", "Limits",
        "What was not measured",
    ]  # fmt: skip
    assert "| package:a | en | MIT | 1,200 | 30 | 20 |" in card
    assert "| corpus, zh | −0.050 | −0.080 to −0.020 | better |" in card
    assert r"\<b\>\|\`\*\[x\](y)\_\# \# title" in card
    assert "## " not in card_markdown(REPORT)


def test_the_data_card_says_what_was_learned_from_and_what_was_left_out() -> None:
    report = replace(
        REPORT,
        card=CARD,
        quarantine=(QuarantineRow("not UTF-8 | at all", 3, "a.txt:7", "ff"),),
        fertility=(FertilityRow("English", 1200, 4.314, 1.3, 0.25),),
        identities=IdentitiesSection((("e-mail", 5),), "Names were looked for.", "2026-11-20", ()),
    )
    card = data_card_markdown(report)
    titles = re.findall("^## (.*)$", card, flags=re.MULTILINE)
    assert titles == [
        "Data and licences", "Left out", "Identities replaced", "Tokens", "Contamination",
    ]  # fmt: skip
    assert "| package:a | en | MIT | 1,200 | 30 | 20 |" in card
    assert r"| not UTF-8 \| at all | 3 | a.txt:7 |" in card
    assert "| English | 1,200 | 4.31 |" in card and "- e-mail: 5" in card
    assert "## " not in data_card_markdown(REPORT)


def drawing(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(re.search("<svg.*</svg>", markup, flags=re.DOTALL).group())  # type: ignore[union-attr]


@pytest.mark.parametrize("num_classes", [2, 4, 40])
def test_every_text_stands_once_in_the_confusion_matrix(num_classes: int) -> None:
    one = section(num_classes)
    svg = drawing(confusion_picture(one))
    counts = [int(text.text or "0") for text in svg.iter("text") if text.get("class") == "count"]
    assert sum(counts) == 300 == sum(pair.count for pair in one.confused)
    names = {title.text for title in svg.iter("title")}
    assert (OTHERS in names) == (num_classes == 40) and len(names) <= 12
    assert NOTHING in names
    right = [cell for cell in svg.iter("rect") if cell.get("class") == "cell right"]
    assert len(right) == len(names)


def test_the_reliability_diagram_has_a_point_for_each_bin_within_its_frame(
    classes: ClassesSection,
) -> None:
    svg = drawing(reliability_picture(classes.bins))
    circles = list(svg.iter("circle"))
    assert len(circles) == len(classes.bins) > 5
    for circle in circles:
        assert 44 <= float(circle.get("cx", 0)) <= 294 and 26 <= float(circle.get("cy", 0)) <= 276
    assert reliability_picture(()) == ""


def test_only_classes_have_a_confusion_matrix() -> None:
    spans = SpanAnswers((frozenset(),), (frozenset(),))
    records = (Labelled(text_content("t"), (), Source("a", 1)),)
    found = classes_section("x", Result(spans, records, Provenance("", "", 1, "", 0.0)))
    assert (found.confused, found.bins, found.labels) == ((), (), ())
    assert {row.metric for row in found.metrics} == {"exact_match"}
