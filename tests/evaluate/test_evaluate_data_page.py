"""A corpus's page: all of its parts, safe with any text, whole in a real browser at any width."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from noria.corpus.choose import Shown
from noria.corpus.deduplicate import Between
from noria.corpus.lengths import Bin, Lengths
from noria.corpus.look import Fertility, Look, Rebalanced
from noria.corpus.losses import Example, Step
from noria.corpus.measured import read_measured
from noria.corpus.survey import Amount, Balance, Survey
from noria.evaluate.bars import short_number
from noria.evaluate.contents import IdentitiesSection
from noria.evaluate.data_page import render_data_page
from noria.records import Source

EVIL = "<script>alert('x')</script>&\"'"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
LONG = "package:a-source-with-quite-a-long-name/data/and_a_file_with_a_longer_one.jsonl.gz"
BUTTON_HEIGHT = 24  # pixels: the least that WCAG 2.2 (2.5.8) wants of what is clicked


def full(text: str) -> Look:
    """A look with every part, in which every text is `text`."""
    rows = tuple(
        Amount(f"{text}{n}", 900 - n, 40, 30, 10**6, 2 * 10**6, n * 500) for n in range(30)
    )
    lengths = tuple(
        Lengths(
            *(what, unit, 1000, 10**6, 12, 48_000),
            ((5, 20), (25, 90), (50, 250), (75, 600), (95, 9000), (99, 20_000)),
            tuple(Bin(low, high, low % 7 * 100) for low, high in ((10, 20), (20, 50), (50, 100))),
        )
        for what, unit in (("document", "characters"), ("sequence", "tokens"))
    )
    example = Example(Source(text, 7), text, text * 9, Source(text, 9))
    steps = (
        Step("clean", "brought into one form", 12, "texts", False),
        Step(text, text, 1, "records", True, (example, example)),
    )
    shown = Shown("train.jsonl", 3, "train", text, text, Source(text, 3), text * 60)
    survey = Survey(rows[:3], rows, rows, (Balance("tagged", rows),), lengths, 5, (shown,))
    return Look(
        folder=f"/somewhere/{text.replace('/', '')}",
        num_files=12,
        num_read=1234,
        understood=(text, text),
        survey=survey,
        steps=steps,
        duplicates=(Between(text, text, 3, 4), Between(text, "other", 0, 1)),
        identities=((text, 7),),
        rebalanced=(Rebalanced(text, 1000, 2000, 2.0),),
        fertility=(Fertility(text, 1234, 0.25, 0.3, 1.4), Fertility("zh", 99, 0.4, 1.1, 7.0)),
    )


def page_of(text: str, folder: Path) -> Path:
    measured = read_measured()
    section = IdentitiesSection(((text, 7),), text, measured.made_on, measured.kinds)
    render_data_page(full(text), text, section, folder / "data.html")
    return folder / "data.html"


def test_every_part_is_there_and_no_text_becomes_markup(tmp_path: Path) -> None:
    page = page_of(EVIL, tmp_path).read_text(encoding="utf-8")
    for anchor in (
        *("contents", "lengths", "balance", "tokens", "duplicates", "steps", "identities"),
        "samples",
    ):
        assert f'<section id="{anchor}"' in page
    assert "<script" not in page and page.count("&lt;script&gt;") > 100
    assert "default-src &#x27;none&#x27;" in page and "http" not in page.replace("http-equiv", "")


def test_a_corpus_without_report_tokens_and_labels_has_a_page(tmp_path: Path) -> None:
    row = Amount("document", 3, 1, 1, 100, 100, 0)
    survey = Survey((row,), (row,), (row,), (), (), 0, ())
    least = Look("/a/corpus", 0, 0, (), survey, (), (), (), (), ())
    render_data_page(least, "least", None, tmp_path / "least.html")
    page = (tmp_path / "least.html").read_text(encoding="utf-8")
    assert "5 records of 1 source." in page and "tokens" not in page


def test_numbers_are_short_and_never_rounded_to_another_unit_of_length() -> None:
    numbers = (0, 950, 999, 1000, 1249, 9949, 9951, 38_400, 999_499, 999_500, 4_100_000)
    said = ["0", "950", "999", "1k", "1.2k", "9.9k", "10k", "38k", "999k", "1M", "4.1M"]
    assert [short_number(one) for one in numbers] == said


@pytest.fixture(scope="module")
def browser() -> Any:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_asks_for_nothing_and_can_be_read(
    tmp_path: Path, browser: Any, width: int, scheme: str
) -> None:
    path = page_of(LONG, tmp_path)
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(path.as_uri())
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert asked == [path.as_uri()] and said == []
    assert page.locator("#lengths svg:visible").count() == 2  # each once: wide or narrow
    for style in ("body", ".lead", ".chip.bad", ".chip.plain", "article .tag"):
        assert contrast(page, style) >= 4.5, style  # WCAG 2.2, 1.4.3
    context.close()


def contrast(page: Any, style: str) -> float:
    """Contrast of an element's text against what is behind it (WCAG 2.2, relative luminance)."""
    found = page.locator(style).first.evaluate(
        """one => { const ink = getComputedStyle(one).color; let at = one;
        while (getComputedStyle(at).backgroundColor === 'rgba(0, 0, 0, 0)') at = at.parentElement;
        return [ink, getComputedStyle(at).backgroundColor] }"""
    )
    lights = []
    for colour in found:
        parts = [int(one) / 255 for one in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        linear = [
            one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts
        ]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_steps_open_and_tables_scroll_by_the_keyboard_alone(tmp_path: Path, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 800})
    page = context.new_page()
    page.goto(page_of(LONG, tmp_path).as_uri())
    step = page.locator("#steps details")
    assert not step.locator("li").first.is_visible()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('#steps') !== null"):
            break
    page.keyboard.press("Enter")
    assert step.locator("li").first.is_visible()
    box = step.locator("summary").bounding_box()
    assert box is not None and box["height"] >= BUTTON_HEIGHT
    table = page.locator("#contents .scroll").first
    table.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(300)  # the policy forbids the browser to evaluate while it waits
    assert table.evaluate("one => one.scrollLeft") > 0
    context.close()
