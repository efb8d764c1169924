"""A real browser drives the page: what a person does, sees, and may do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_visit import Visit, opened_chromium
from serving_world import CONTEXT_TOKENS, NAME, TENANT, World

from noria.baselines.crf import train_crf
from noria.baselines.tfidf import train_tfidf
from noria.corpus.packages import fetch_package
from noria.runtime import cache_folder
from noria.text_settings import PackageSettings

AXE = PackageSettings(  # MPL-2.0; checks pages against WCAG
    registry="npm",
    package="axe-core",
    version="4.14.1",
    sha256="e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745",
    licence="MPL-2.0",
)
QUESTIONS = ["where is my parcel", "has my parcel left", "my parcel is late", "track my parcel"]
MONEY = ["I want my money back", "refund my money", "you took my money twice", "money is gone"]
VERDICT = {
    "promote": True,
    "confidence": 0.98,
    "read_number": 1,
    "reasons": ["feedback.bits_per_byte is better than the champion's by 0.265"],
    "requirements": [
        {
            "requirement": "feedback.bits_per_byte < champion",
            "difference": {"value": -0.265, "low": -0.3, "high": None},
            "bound": 0.0,
            "passed": True,
        }
    ],
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from opened_chromium()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A chat model, an application of each kind, and a challenger that the gate let through."""
    world = World(tmp_path_factory.mktemp("page"))
    champion = world.promote("a")
    challenger = world.write("b", origin="challenger", parent=champion)
    world.registry.record_gate(TENANT, NAME, challenger, "f" * 64, "set", VERDICT)
    labels = ["parcel"] * 4 + ["money"] * 4
    classifier = train_tfidf(QUESTIONS + MONEY, labels)
    world.promote_part("intent", "classify", classifier, classifier.labels)
    rows = [
        (["in", "1819", "Spain", "sold", "it"], ["O", "B-YEAR", "B-PLACE", "O", "O"]),
        (["x", "in", "1819", "Spain", "sold", "it"], ["O", "O", "B-YEAR", "B-PLACE", "O", "O"]),
        (["it", ",", "Spain"], ["O", "O", "B-PLACE"]),
    ] * 8
    tagger = train_crf(rows)
    bio = ("O", "B-YEAR", "I-YEAR", "B-PLACE", "I-PLACE")
    world.promote_part("when", "tag", tagger, bio)
    (world.root / "model_card.md").write_text(
        "# helpdesk\n\n## Data\n\n| source | texts |\n|---|---:|\n| a\\_b | 7 |\n\n- `one`\n",
        encoding="utf-8",
    )
    world.key = world.new_key("use", "rate", "read", "promote")
    world.start(tasks=("intent", "when"))
    yield world
    world.close()


@pytest.fixture
def visit(browser: Any, served: World) -> Iterator[Visit]:
    opened = Visit(browser, served.url)
    opened.sign_in(served.key)
    yield opened
    opened.close()


def short_answers(visit: Visit) -> None:
    visit.page.locator(".settings summary").click()
    visit.page.get_by_label("Most tokens").fill("4")
    visit.page.locator(".settings summary").click()


def test_a_thumb_a_correction_a_promotion_a_better_answer_and_back(
    visit: Visit, served: World
) -> None:
    page, world = visit.page, served
    short_answers(visit)
    turn = visit.ask("Where is my parcel?")
    assert turn.locator(".answer .text").first.text_content() == "aaaa"
    visit.button(turn, "Bad answer").click()
    turn.get_by_text("Noted: bad").wait_for()
    assert visit.button(turn, "Bad answer").get_attribute("aria-pressed") == "true"
    visit.button(turn, "Correct").click()
    turn.locator("textarea").fill("bbbb")
    visit.button(turn, "Send").click()
    turn.get_by_text("Your correction is kept").wait_for()
    visit.button(turn, "Comment").click()
    turn.locator("textarea").fill("too many a")
    visit.button(turn, "Send").click()
    turn.get_by_text("Your comment is kept").wait_for()
    asked = world.feedback.interactions(TENANT)[-1]
    said = [one for one in world.feedback.feedback(TENANT) if one.interaction_id == asked.id]
    assert [(one.kind, one.value) for one in said] == [
        ("thumb", "down"),
        ("correction", "bbbb"),
        ("comment", "too many a"),
    ]
    visit.button(turn, "Details").click()
    details = turn.locator(".details").inner_text()
    assert asked.id in details and world.hashes["a"] in details and "4 written" in details

    page.get_by_role("tab", name="Loop").click()
    page.get_by_text("better than the champion's by 0.265").wait_for()
    assert "−0.265 (−0.300 … ∞)" in page.locator(".one-loop").inner_text()
    assert "corrections 1" in page.locator(".one-loop").inner_text()
    visit.change("Promote challenger", "it is what they asked for")
    world.wait_for(world.hashes["b"])
    page.get_by_role("tab", name="Chat").click()
    assert visit.ask("Where is my parcel?").locator(".answer .text").first.text_content() == "bbbb"
    page.get_by_role("tab", name="Loop").click()
    visit.change("Roll back", "only a test")
    world.wait_for(world.hashes["a"])
    page.get_by_text("History", exact=True).click()
    page.get_by_role("cell", name="only a test").wait_for()
    page.get_by_role("tab", name="Chat").click()
    assert visit.ask("And now?").locator(".answer .text").first.text_content() == "aaaa"


def test_an_answer_is_stopped_had_again_and_copied(visit: Visit, served: World) -> None:
    page = visit.page
    page.locator(".settings summary").click()
    page.get_by_label("Most tokens").fill(str(CONTEXT_TOKENS // 2))
    page.locator("#asked").fill("Go on for ever")
    page.keyboard.press("Enter")
    page.locator(".answer .text").filter(has_text=re.compile("a{3}")).wait_for()  # it streams
    page.get_by_role("button", name="Stop", exact=True).click()
    turn = page.locator(".turn").last
    visit.button(turn, "Good answer").click()  # a half answer is kept and can be rated
    turn.get_by_text("Noted: good").wait_for()
    stopped = served.feedback.interactions(TENANT)[-1]
    assert stopped.finish == "cancelled" and len(stopped.answer) < CONTEXT_TOKENS // 4
    page.get_by_label("Most tokens").fill("3")
    visit.button(turn, "Again").click()
    turn.locator(".answer .text").filter(has_text=re.compile("^aaa$")).wait_for()
    visit.button(turn, "Copy").click()
    page.get_by_role("status").filter(has_text="Copied").wait_for(state="attached")
    assert page.evaluate("navigator.clipboard.readText()") == "aaa"
    second = visit.ask("And?")  # the model reads what was said before, the last answer for each
    second.wait_for()
    messages = json.loads(served.feedback.interactions(TENANT)[-1].prompt)
    assert [one["content"] for one in messages] == ["Go on for ever", "aaa", "And?"]
    visit.button(page, "New").click()
    assert page.locator(".turn").count() == 0
    kinds = [one.kind for one in served.feedback.feedback(TENANT)]
    assert "regenerate" in kinds and "copy" in kinds  # what was done says something too
    visit.wrong = [one for one in visit.wrong if "404" not in one]  # rated before it was on disk


def test_applications_answer_and_are_corrected(visit: Visit, served: World) -> None:
    page, feedback = visit.page, served.feedback
    page.get_by_role("tab", name="intent").click()
    panel = page.get_by_role("tabpanel", name="intent")
    panel.get_by_role("textbox").fill("where is the parcel now")
    visit.button(panel, "Ask").click()
    answer = panel.locator(".task-answer")
    assert answer.locator(".chosen").inner_text() == "parcel"
    bars = answer.locator(".bar-row").all_inner_texts()
    assert len(bars) == 2 and bars[0].startswith("parcel") and "%" in bars[0]
    visit.button(answer, "Correct").click()
    answer.get_by_role("combobox").select_option("money")
    visit.button(answer, "Send").click()
    answer.get_by_text("Your correction is kept").wait_for()
    last = feedback.feedback(TENANT)[-1]
    assert (last.kind, last.value) == ("label", "money")

    page.get_by_role("tab", name="when").click()
    panel = page.get_by_role("tabpanel", name="when")
    text = "𝒳 in 1819 Spain sold it, Spain"  # a character of two halves before the spans
    panel.get_by_role("textbox").fill(text)
    visit.button(panel, "Ask").click()
    answer = panel.locator(".task-answer")
    answer.locator("mark").first.wait_for()
    marks = answer.locator("mark").all_inner_texts()
    assert [one.split("\n")[0] for one in marks][:2] == ["1819YEAR", "SpainPLACE"]
    visit.button(answer, "Correct").click()
    visit.button(answer.locator(".span-list li").first, "Take out").click()
    answer.get_by_label("Words of the text").fill("sold")
    answer.get_by_label("Tag", exact=True).select_option("PLACE")
    visit.button(answer, "Add").click()
    answer.get_by_label("Words of the text").fill("nowhere")
    visit.button(answer, "Add").click()
    answer.get_by_text("do not stand in the text").wait_for()
    visit.button(answer, "Send").click()
    answer.get_by_text("Your correction is kept").wait_for()
    spans = json.loads(feedback.feedback(TENANT)[-1].value)
    assert [text[one["start"] : one["end"]] for one in spans][:2] == ["Spain", "sold"]
    assert spans[1]["tag"] == "PLACE"


def test_why_this_answer_by_keyboard_alone(visit: Visit, served: World) -> None:
    page = visit.page
    short_answers(visit)
    turn = visit.ask("Why?")
    why = visit.button(turn, "Why?")
    why.focus()
    page.keyboard.press("Enter")
    tokens = turn.locator(".why button.token")
    tokens.first.wait_for()
    assert tokens.count() == 4 and "100 %" in tokens.first.get_attribute("aria-label")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert turn.locator(".detail .bar-row.marked").inner_text().startswith("“a”")
    page.keyboard.press("Enter")
    turn.get_by_text("What it looked at before “a”").wait_for()
    before = turn.locator(".seen").all_inner_texts()
    assert "".join(before).endswith("assistant↵a") and "Why?" in "".join(before)
    assert turn.get_by_label("Layer").locator("option").count() == 2  # the mean, and the one layer
    turn.get_by_label("Head").select_option("1")
    assert "%" in turn.get_by_text("Most attention:").inner_text()
    tokens.first.focus()
    page.keyboard.press("Escape")
    assert turn.locator(".why").count() == 0
    assert page.evaluate("document.activeElement.textContent") == "Why?"


def test_everything_is_reached_by_the_keyboard_in_the_order_in_which_it_is_seen(
    browser: Any, served: World
) -> None:
    visit = Visit(browser, served.url)
    page = visit.page
    page.locator("#key:focus").wait_for()
    page.keyboard.type(served.key)
    page.keyboard.press("Enter")
    page.locator("#asked:focus").wait_for()
    page.keyboard.type("Hello")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("again")
    page.keyboard.press("Enter")
    page.locator(".after-answer").wait_for()
    assert page.locator(".asked .text").inner_text() == "Hello\nagain"
    page.locator("#tab-chat").focus()
    names = []
    for _ in range(8):
        page.keyboard.press("Tab")
        names.append(
            page.evaluate(
                "(one => one.getAttribute('aria-label') ?? one.textContent)(document.activeElement)"
            )
        )
    assert names == [
        "Good answer", "Bad answer", "Correct", "Comment", "Copy", "Again", "Details", "Why?",
    ]  # fmt: skip
    page.locator("#tab-chat").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("tab", selected=True).inner_text() == "intent"
    assert page.locator("#tab-task-intent:focus").count() == 1
    visit.close()


def test_the_language_is_the_browsers_and_can_be_chosen(browser: Any, served: World) -> None:
    visit = Visit(browser, served.url, locale="zh-CN")
    page = visit.page
    page.get_by_role("heading", name="登录").wait_for()
    visit.sign_in(served.key)
    visit.ask("你好").get_by_role("button", name="更正").click()
    assert page.evaluate("document.documentElement.lang") == "zh"
    page.get_by_label("语言").select_option("en")
    page.get_by_text("What should the answer have been?").wait_for()  # what is open stays open
    assert page.locator("#asked").get_attribute("placeholder") == "Your message"
    page.reload()
    page.get_by_role("tab", name="Chat").wait_for()  # the choice is kept, and so is the session
    visit.close()


def test_both_languages_say_the_same_things() -> None:
    folder = Path(__file__).parents[2] / "noria" / "serve" / "page"
    found = {}
    for language in ("en", "zh"):
        text = (folder / f"words.{language}.js").read_text(encoding="utf-8")
        rows = re.findall(r'^  "?([\w.]+)"?: "(.*)",$', text, re.MULTILINE)
        assert len(rows) == len(dict(rows)) > 100
        found[language] = {key: sorted(re.findall(r"\{\w+\}", value)) for key, value in rows}
        if language == "zh":
            latin = [key for key, value in rows if not re.search(r"[一-鿿]", value)]
            assert set(latin) <= {"details.finish.value"}
    assert found["en"] == found["zh"]
    used = "".join(one.read_text(encoding="utf-8") for one in folder.glob("[!w]*"))
    for key in re.findall(r'(?:words\(|words: |label: |hint: |words=)"([\w.]+)"', used):
        assert key in found["en"], key


def test_a_session_that_ends_asks_to_sign_in_again(browser: Any, served: World) -> None:
    visit = Visit(browser, served.url)
    created = served.keys.create(TENANT, ("use",))
    visit.page.locator("#key").fill("nk-wrong")
    visit.page.keyboard.press("Enter")
    visit.page.get_by_text("unknown or was revoked").wait_for()
    visit.page.locator("#key").fill(created.secret)
    visit.page.keyboard.press("Enter")
    visit.page.locator("#asked").wait_for()
    assert visit.page.get_by_role("tab", name="Loop").count() == 0  # this key may not read
    served.keys.revoke(TENANT, created.key_id)
    visit.page.locator("#asked").fill("Hello")
    visit.page.keyboard.press("Enter")
    visit.page.get_by_text("Your session has ended").wait_for()
    visit.sign_in(served.key)
    visit.page.get_by_role("button", name="Sign out").click()
    visit.page.locator("#key").wait_for()
    visit.page.reload()
    visit.page.locator("#key").wait_for()
    visit.wrong = [one for one in visit.wrong if "401" not in one]  # the browser notes them
    visit.close()


TOO_SMALL = """least => [...document.querySelectorAll('button, select, input, textarea, summary')]
.filter(one => one.checkVisibility() && Math.min(one.offsetWidth, one.offsetHeight)
  < (one.matches('.token') ? 24 : least)).map(one => one.outerHTML.slice(0, 90))"""


def test_a_finger_hits_every_control_and_no_keyboard_covers_an_answer(
    browser: Any, served: World
) -> None:
    phone = {"width": 360, "height": 740}
    visit = Visit(browser, served.url, viewport=phone, has_touch=True, is_mobile=True)
    page = visit.page

    def look(name: str) -> None:
        assert page.evaluate(TOO_SMALL, 44) == [], name
        assert page.evaluate("document.documentElement.scrollWidth") == phone["width"], name

    look("sign in")
    visit.sign_in(served.key)
    name = page.locator("#model-name")
    assert name.evaluate("one => one.scrollWidth === one.clientWidth")  # the whole name is there
    page.locator(".settings summary").tap()
    page.get_by_label("Most tokens").fill("4")
    look("settings")
    page.locator(".settings summary").tap()
    page.locator("#asked").fill("Where is my parcel?")
    page.locator(".composer .main").tap()
    turn = page.locator(".turn")
    turn.locator(".after-answer").wait_for()
    assert page.locator("#asked:focus").count() == 0  # a focus there would open the keyboard
    copy = turn.locator(".answer-tools > button").nth(4)
    copy.tap()
    turn.get_by_text("Copied").wait_for()  # the eye is told as well as the ear
    turn.get_by_text("Copy", exact=True).wait_for()
    visit.button(turn, "Correct").tap()
    visit.button(turn, "Why?").tap()
    turn.locator("button.token").first.wait_for()
    look("why")
    page.locator("#tab-task-when").tap()
    assert page.locator("textarea:focus").count() == 0
    panel = page.locator("#panel-task-when")
    panel.locator("textarea").fill("in 1819 Spain sold it")
    panel.locator("form.ask button").tap()
    visit.button(panel, "Correct").tap()
    panel.locator(".span-list").wait_for()
    look("spans")
    page.locator("#tab-loop").tap()
    page.locator(".one-loop").wait_for()
    look("loop")
    page.locator("#panel-loop summary").first.tap()
    widths = "all => all.map(one => one.offsetWidth)"  # a table scrolls before its words break
    assert min(page.locator("#panel-loop td:visible").evaluate_all(widths)) >= 96
    page.evaluate("document.documentElement.style.fontSize = '200%'")  # as large as WCAG asks for
    look("loop, large")
    page.locator("#tab-chat").tap()
    turn.locator("button.token").first.tap()
    turn.locator(".seen").first.wait_for()
    look("why, large")
    page.locator(".settings summary").tap()
    look("settings, large")
    visit.close()


ON_TOP = """where => { const one = document.querySelector(where), box = one.getBoundingClientRect();
return document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2) === one }"""
# Each width and each scheme is looked at by axe once; the other two are drawn and measured.
SCREENS = [
    (360, "dark", "zh-CN", True),
    (1280, "light", "en-GB", True),
    (360, "light", "en-GB", False),
    (1280, "dark", "zh-CN", False),
]


@pytest.mark.parametrize(("width", "scheme", "language", "checked"), SCREENS)
def test_every_screen_fits_and_has_no_barrier_that_axe_finds(
    browser: Any,
    served: World,
    tmp_path: Path,
    width: int,
    scheme: str,
    language: str,
    checked: bool,
) -> None:
    axe = (fetch_package(AXE, cache_folder()) / "axe.min.js").read_text(encoding="utf-8")
    size = {"width": width, "height": 800}
    visit = Visit(browser, served.url, viewport=size, color_scheme=scheme, locale=language)
    page = visit.page

    def look(name: str) -> None:
        page.screenshot(path=str(tmp_path / f"{name}.png"), full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") == width, name
        if not checked:
            return
        found = page.evaluate(
            f"(() => {{ {axe}; return axe.run({{rules: {{region: {{enabled: false}}}}}}) }})()"
        )
        wrong = [(one["id"], [n["html"] for n in one["nodes"]]) for one in found["violations"]]
        assert wrong == [], name

    look("sign in")
    visit.sign_in(served.key)
    look("empty")
    page.locator(".settings summary").click()
    page.locator(".settings input").first.fill("30")
    assert page.evaluate(ON_TOP, ".settings input")  # nothing hides or cuts the sheet
    look("settings")
    page.locator(".settings summary").click()
    turn = visit.ask("Where is my parcel? " * 9)
    turn.locator(".thumb").nth(1).click()
    turn.locator(".noted:not(:empty)").wait_for()
    turn.locator(".answer-tools > button").nth(2).click()
    look("chat")
    turn.locator(".own button").click()
    turn.locator("button.token").nth(2).click()
    turn.locator(".seen").first.wait_for()
    look("why")
    for task, text in (("intent", "where is my parcel"), ("when", "in 1819 Spain sold it")):
        page.locator(f"#tab-task-{task}").click()
        panel = page.locator(f"#panel-task-{task}")
        panel.locator("textarea").fill(text)
        panel.locator("form.ask button").click()
        panel.locator(".task-answer").wait_for()
        panel.locator(".answer-tools > button").nth(2).click()
        look(task)
    page.locator("#tab-loop").click()
    page.locator(".one-loop").wait_for()
    for one in page.locator("#panel-loop summary").all():
        one.click()
    page.locator(".markdown table").wait_for()
    look("loop")
    visit.close()
