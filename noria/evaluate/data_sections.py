"""The parts of a corpus's page, one function each; a part without values is empty markup.

In: a Look. Out: escaped markup. Long tables end in a line that says what is not in them; what is
only sometimes wanted is folded, which needs no script. This module does not write files.
"""

from __future__ import annotations

from collections.abc import Sequence

from noria.corpus.choose import Shown
from noria.corpus.lengths import Lengths
from noria.corpus.look import Look
from noria.corpus.losses import Example, Step, place
from noria.corpus.survey import Amount, Balance
from noria.evaluate.bars import Columns, column_chart, share_bar
from noria.evaluate.page import Html, chip, element, join, section, table

MAX_ROWS = 12
SAMPLE_CHARACTERS = 700
SPLIT_NAMES = ("train", "held out", "test")
RECORD_NAMES = {"labelled": "labelled text", "tagged": "tagged text"}


def amounts_part(found: Look) -> Html:
    """Records and text by shape, source and language, each with its splits."""
    survey = found.survey
    lead = (
        "Records of each split, in numbers and as a bar: what is trained on, what the gate "
        "measures on, and what no gate ever reads."
    )
    legend = [element("span", name, class_=f"key-{at}") for at, name in enumerate(SPLIT_NAMES, 1)]
    marked = f"{survey.synthetic:,} records were written by a program." if survey.synthetic else ""
    return section(
        "contents",
        "What is in it",
        lead,
        element("p", *legend, marked, class_="legend"),
        _amounts("Shape", "shape", survey.shapes),
        _amounts("Source", "source", survey.sources),
        _amounts("Language, or script", "language", survey.languages),
        _rebalanced(found),
        _folded("What the readers took the files for", map(_line, found.understood)),
    )


def _amounts(title: str, what: str, rows: Sequence[Amount]) -> Html:
    has_tokens = any(row.tokens for row in rows)
    most = max((row.records for row in rows), default=1)
    cells = [
        (
            row.name,
            f"{row.records:,}",
            share_bar([count / most for count in (row.train, row.held_out, row.test)]),
            *(f"{count:,}" for count in (row.train, row.held_out, row.test)),
            f"{row.characters:,}",
            *([f"{row.tokens:,}" if row.tokens else "–"] if has_tokens else []),
        )
        for row in rows[:MAX_ROWS]
    ]
    columns = [what, "#records", "", "#train", "#held out", "#test", "#characters"]
    shown = table(title, [*columns, *(["#tokens"] if has_tokens else [])], cells)
    return join(element("h3", title), shown, _rest(rows))


def _rest(rows: Sequence[Amount]) -> Html:
    rest = rows[MAX_ROWS:]
    if not rest:
        return Html("")
    records = sum(row.records for row in rest)
    said = f"And {len(rest):,} more, the largest with {rest[0].records:,}, all with {records:,}."
    return element("p", said, class_="quiet")


def _rebalanced(found: Look) -> Html:
    if not found.rebalanced:
        return Html("")
    rows = [
        (one.source, f"{one.characters_before:,}", f"{one.characters:,}", f"{one.copies:.2f}")
        for one in found.rebalanced
    ]
    columns = ("source", "#characters before", "#characters after", "#copies of a record")
    return join(element("h3", "Balance of what is trained on"), table("Balance", columns, rows))


def lengths_part(found: Look) -> Html:
    """How long records are, shape by shape, and in tokens."""
    charts = [_lengths(one) for one in found.survey.lengths]
    lead = "How many records are how long. A column counts from its left edge up to its right one."
    return section("lengths", "How long it is", lead, element("div", *charts, class_="charts"))


def _lengths(one: Lengths) -> Html:
    points = dict(one.quantiles)
    note = (
        f"Half of them have {one.median:,} {one.unit} or less; 5% {points[5]:,} or less, 95% "
        f"{points[95]:,} or less. Shortest {one.smallest:,}, longest {one.largest:,}."
    )
    title = (
        "Tokens of a sequence" if one.unit == "tokens" else f"Characters of a {_record(one.what)}"
    )
    edges = (*(found.low for found in one.bins), one.bins[-1].high)
    counts = tuple(found.count for found in one.bins)
    return column_chart(Columns(title, note, one.unit, edges, counts))


def _record(shape: str) -> str:
    return RECORD_NAMES.get(shape, shape)


def balance_part(found: Look) -> Html:
    """How often each label and tag stands in each split."""
    parts = [_balance(one) for one in found.survey.balances if one.rows]
    lead = (
        "How often each label stands in each split. What is rare in training is learned badly, and "
        "what is missing from a split is not measured there."
    )
    return section("balance", "Labels", lead, *parts) if parts else Html("")


def _balance(one: Balance) -> Html:
    what = "tag" if one.shape == "tagged" else "label"
    total, most = sum(row.records for row in one.rows), one.rows[0].records
    rows = [
        (
            row.name,
            f"{row.records:,}",
            f"{row.records / total:.1%}",
            share_bar([count / most for count in (row.train, row.held_out, row.test)]),
            *(f"{count:,}" for count in (row.train, row.held_out, row.test)),
        )
        for row in one.rows[:MAX_ROWS]
    ]
    rarest = one.rows[-1]
    said = f"{len(one.rows):,} {what}s. The most frequent stands {most:,} times, the rarest, "
    said += f"{rarest.name}, {rarest.records:,} times."
    columns = (what, "#times", "#share", "", "#train", "#held out", "#test")
    title = f"{what.capitalize()}s of {_record(one.shape)}s"
    shown = table(title, columns, rows)
    return join(element("h3", title), element("p", said), shown, _rest(one.rows))


def tokens_part(found: Look) -> Html:
    """What the tokenizer makes of each language."""
    if not found.fertility:
        return Html("")
    most = max(one.tokens_per_byte for one in found.fertility)
    rows = [
        (
            one.language,
            f"{one.tokens:,}",
            f"{one.tokens_per_byte:.3f}",
            share_bar([one.tokens_per_byte / most if most else 0.0]),
            f"{one.tokens_per_character:.2f}",
            f"{one.tokens_per_word:.2f}" if not one.language.startswith("zh") else "–",
        )
        for one in found.fertility
    ]
    lead = (
        "How many tokens held-out text of each language becomes. More tokens a byte are more steps "
        "to read and to write the same. Chinese has no spaces: there the character counts."
    )
    columns = ("language", "#tokens", "#tokens a byte", "", "#a character", "#a word")
    return section("tokens", "As tokens", lead, table("Tokens a byte", columns, rows))


def duplicates_part(found: Look) -> Html:
    """What repeats what, within sources and between them."""
    if not found.duplicates:
        return Html("")
    rows = [
        (
            one.source,
            chip("itself", "plain") if one.source == one.duplicate_of else one.duplicate_of,
            f"{one.exact:,}",
            f"{one.near:,}",
        )
        for one in sorted(found.duplicates, key=lambda one: -one.exact - one.near)
    ]
    lead = (
        "Records that were left out because another says the same: word for word, or at a Jaccard "
        "similarity of 0.8 or more."
    )
    columns = ("records of", "repeat", "#word for word", "#nearly")
    return section("duplicates", "What repeats", lead, table("Duplicates", columns, rows))


def steps_part(found: Look) -> Html:
    """What each step did and left out, with examples that unfold."""
    rows = [_step(step) for step in found.steps]
    lead = (
        f"{found.num_read:,} records were read, {found.num_left_out:,} left out, and "
        f"{found.num_records:,} are in the splits. Open a step to see examples."
    )
    if found.rebalanced:
        lead += " Balancing writes some several times, and some not at all."
    if not rows:
        return section("steps", "What the steps did", "No step changed or left out anything.")
    return section("steps", "What the steps did", lead, element("div", *rows, class_="steps"))


def _step(step: Step) -> Html:
    head = (
        element("strong", step.name),
        element("span", step.says, class_="quiet"),
        chip(f"{step.count:,} {_unit(step)}", "bad" if step.gone else "plain"),
    )
    if not step.examples:
        return element("div", *head, class_="step")
    examples = element("ul", *(_example(step, one) for one in step.examples))
    return element("details", element("summary", *head), examples, class_="step")


def _unit(step: Step) -> str:
    unit = step.unit.removesuffix("s") if step.count == 1 else step.unit
    return f"{unit} left out" if step.gone else unit


def _example(step: Step, one: Example) -> Html:
    where = one.source.file if step.name == "boilerplate" else place(one.source)
    stays = element("strong", "stays: ") if one.repeats is not None else Html("")
    text = element("p", stays, one.text, class_="said") if one.text else Html("")
    return element("li", element("code", where), " ", one.what, text)


def samples_part(found: Look) -> Html:
    """Some records of each shape, chosen by a hash."""
    lead = (
        "Some records of each shape as they are stored, with the place that each came from. A hash "
        "chose them, nobody's eye."
    )
    cards = [_sample(one) for one in found.survey.samples]
    return section("samples", "Samples", lead, *cards) if cards else Html("")


def _sample(one: Shown) -> Html:
    words = f"{one.shape}, {one.language}, {one.split.replace('_', ' ')}"
    text = one.text[:SAMPLE_CHARACTERS]
    more = len(one.text) - len(text)
    cut = element("span", f" … {more:,} characters more", class_="quiet") if more else Html("")
    return element(
        "article",
        element("p", element("span", words, class_="tag"), element("code", place(one.source))),
        element("p", text, cut, class_="said"),
    )


def _line(text: str) -> Html:
    return element("li", text)


def _folded(title: str, items: map[Html]) -> Html:
    lines = list(items)
    if not lines:
        return Html("")
    return element("details", element("summary", title), element("ul", *lines), class_="step")
