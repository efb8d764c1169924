"""The parts of a report's page, one function each; a part without values is empty markup.

In: a Report. Out: escaped markup. This module does not write files.
"""

from __future__ import annotations

import time

from noria.evaluate.compare import BETTER, WORSE, signed, verdict_of
from noria.evaluate.contents import BaselineSection, DifferenceRow, Report
from noria.evaluate.metrics import Interval
from noria.evaluate.page import Html, chip, element, section, short_hash, table
from noria.evaluate.picture import interval_bar, interval_scale, line_chart

_KINDS = {BETTER: "good", WORSE: "bad"}


def stages_part(report: Report) -> Html:
    """What ran: a table of stages."""
    rows = [
        (
            element("strong", stage.name),
            stage.result,
            f"{stage.elapsed_s:,.1f}",
            f"{stage.peak_bytes / 1e6:,.0f}",
            chip("re-used", "plain") if stage.reused else "made",
        )
        for stage in report.stages
    ]
    lead = "Every stage in order. A stage whose inputs did not change is re-used, not run again."
    columns = ("stage", "result", "#seconds", "#peak MB", "now")
    return section("stages", "What ran", lead, table("Stages", columns, rows))


def quarantine_part(report: Report) -> Html:
    """What of the corpus's files could not be read."""
    if not report.quarantine:
        return Html("")
    rows = [
        (one.reason, f"{one.count:,}", one.place, one.value or "(all of it)")
        for one in report.quarantine
    ]
    lead = (
        "Pieces of the files that are no records. They are kept in quarantine.jsonl beside the "
        "corpus, and nothing was trained on them."
    )
    columns = ("reason", "#pieces", "the first", "what stands there")
    return section("quarantine", "What could not be read", lead, table("Lost", columns, rows))


def fertility_part(report: Report) -> Html:
    """What the tokenizer makes of each language."""
    if not report.fertility:
        return Html("")
    lead = (
        "Fertility, on held-out text: how many tokens a word or a character becomes. Fewer tokens "
        "are fewer steps to read and to write. Chinese has no spaces: there the character counts."
    )
    rows = [
        (
            row.language,
            f"{row.num_tokens:,}",
            f"{row.bytes_per_token:.2f}",
            f"{row.tokens_per_word:.2f}" if not row.language.endswith("Chinese") else "–",
            f"{row.tokens_per_character:.2f}",
        )
        for row in report.fertility
    ]
    columns = ("language", "#tokens", "#bytes a token", "#tokens a word", "#tokens a character")
    return section("fertility", "How it reads", lead, table("Fertility", columns, rows))


def learning_part(report: Report) -> Html:
    """The loss curves."""
    charts = [chart for chart in map(line_chart, report.charts) if chart]
    lead = "Loss is how surprised the model is by the next token; lower is better."
    return (
        section("learning", "How it learned", lead, element("div", *charts, class_="charts"))
        if charts
        else Html("")
    )


def quality_part(report: Report) -> Html:
    """Scores, and the plain word on model against n-gram model."""
    if not report.scores and report.baseline is None:
        return Html("")
    lead = (
        "Bits per byte: how many bits the model needs for one byte of text it has never seen. "
        "Lower is better. The interval is 95%; the hash names the weights that were measured."
    )
    rows = [
        (
            row.model,
            row.records,
            f"{row.value.value:.3f}",
            f"{row.value.low:.3f} to {row.value.high:.3f}",
            f"{row.num_records:,}",
            short_hash(row.weight_hash),
        )
        for row in report.scores
    ]
    columns = ("model", "measured on", "#bits per byte", "#interval", "#records", "weights")
    scores = table("Scores", columns, rows) if rows else Html("")
    return section("quality", "How good it is", lead, _baseline(report.baseline), scores)


def _baseline(baseline: BaselineSection | None) -> Html:
    if baseline is None:
        return Html("")
    verdict = verdict_of(baseline.difference)
    said = {
        BETTER: f"The {baseline.subject} is better than the {baseline.name}",
        WORSE: f"The {baseline.name} is better than the {baseline.subject}",
    }.get(verdict, f"No difference was seen between the {baseline.subject} and the {baseline.name}")
    figures = (
        f": {baseline.model:.3f} against {baseline.baseline:.3f} bits per byte, a difference of "
        f"{_interval(baseline.difference)}."
    )
    return element("p", element("strong", said), figures, class_=f"note {_kind(verdict)}")


def compression_part(report: Report) -> Html:
    """What smaller weights cost."""
    one = report.compression
    if one is None:
        return Html("")
    share = one.bytes_after / one.bytes_before
    said = (
        f"{one.method}: {size(one.bytes_before)} became {size(one.bytes_after)} ({share:.0%}). "
        f"It cost {_interval(one.difference, 4)} bits per byte, measured on the same records."
    )
    lead = "The same model with smaller weights, measured again after they were made smaller."
    return section("compression", "What compression cost", lead, element("p", said, class_="note"))


def speed_part(report: Report) -> Html:
    """How long an answer takes, and what memory."""
    if not report.speed:
        return Html("")
    first = report.speed[0]
    lead = (
        f"{first.num_answers:,} answers, one after another, without a network or a queue. Measured "
        f"on {first.machine}; another machine has other numbers. The interval is 95%; an end is "
        "open (∞) where too few answers were timed for it."
    )
    rows = [
        (
            row.what,
            f"{row.value.value:,.1f} {row.unit}",
            f"{row.value.low:,.1f} to {row.value.high:,.1f}".replace("inf", "∞")
            if row.value.low < row.value.high
            else "one reading",
            short_hash(row.weight_hash),
        )
        for row in report.speed
    ]
    columns = ("what", "#measured", "#interval", "weights")
    return section("speed", "How fast it answers", lead, table("Speed", columns, rows))


def samples_part(report: Report) -> Html:
    """Prompts and answers, before and now."""
    cards = []
    for row in report.samples:
        answers = [("champion", row.champion), ("live now", row.live)]
        if row.champion == row.live:
            answers = [("champion and live now", row.live)]
        columns = (
            element("div", element("h3", who), element("p", text or "(nothing)", class_="said"))
            for who, text in answers
        )
        prompt = element("p", element("span", "prompt", class_="tag"), row.prompt, class_="prompt")
        cards.append(element("article", prompt, element("div", *columns, class_="answers")))
    lead = (
        "The same prompts, answered by the champion of this turn and by the model that is live now."
    )
    return section("samples", "What it says", lead, *cards) if cards else Html("")


def breakdown_part(report: Report) -> Html:
    """Model minus rival, kind of text by kind of text."""
    baseline = report.baseline
    subject, rival = (baseline.subject, baseline.name) if baseline else ("model", "rival")
    lead = f"The {subject} minus the {rival}, in bits per byte. Below zero is better."
    return _differences("breakdown", "On each kind of text", lead, report.breakdown)


def contributions_part(report: Report) -> Html:
    """Challenger minus control."""
    lead = (
        "Challenger minus control, in bits per byte. The control took the same number of steps "
        "without the feedback, so what is left is what the feedback brought. Below zero is better."
    )
    return _differences("feedback", "What feedback brought", lead, report.contributions)


def afterwards_part(report: Report) -> Html:
    """Challenger minus champion on text that no gate reads."""
    lead = (
        "Challenger minus champion on text that no gate ever reads. Below zero is better. "
        "It decides nothing; it says afterwards whether the gate was right."
    )
    return _differences("afterwards", "Was the gate right?", lead, report.afterwards)


def _differences(anchor: str, title: str, lead: str, found: tuple[DifferenceRow, ...]) -> Html:
    if not found:
        return Html("")
    half = interval_scale([row.difference for row in found])
    rows = []
    for row in found:
        verdict = verdict_of(row.difference)
        bar = interval_bar(row.difference, half, None, _kind(verdict))
        rows.append((row.what, chip(verdict, _kind(verdict)), *_figures(row.difference), bar))
    columns = ("measured on", "verdict", "#difference", "#interval", "around zero")
    return section(anchor, title, lead, table(title, columns, rows))


def audit_part(report: Report) -> Html:
    """The audit trail."""
    rows = [
        (
            time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(row.at)),
            row.event,
            short_hash(row.weight_hash),
            row.actor,
            row.reason,
        )
        for row in report.audit
    ]
    lead = "What became live, when, by whom and why. The entries are chained: a change shows."
    columns = ("time (UTC)", "event", "weights", "by", "reason")
    return (
        section("audit", "Audit trail", lead, table("Audit", columns, rows)) if rows else Html("")
    )


def commands_part(report: Report) -> Html:
    """What to type next."""
    items = (
        element("li", element("code", one.command), element("span", one.what))
        for one in report.next_commands
    )
    if not report.next_commands:
        return Html("")
    lead = "Type these in the folder of the recipe."
    return section("next", "What next", lead, element("ol", *items, class_="commands"))


def _figures(interval: Interval) -> tuple[str, str]:
    return signed(interval.value), f"{signed(interval.low)} to {signed(interval.high)}"


def _interval(interval: Interval, decimals: int = 3) -> str:
    value, low, high = (
        signed(one, decimals) for one in (interval.value, interval.low, interval.high)
    )
    return f"{value} ({low} to {high})"


def _kind(verdict: str) -> str:
    return _KINDS.get(verdict, "plain")


def size(num_bytes: int) -> str:
    """Bytes as kB or MB."""
    return f"{num_bytes / 1e6:,.1f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:,.1f} kB"


def duration(seconds: float) -> str:
    """Seconds as minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
