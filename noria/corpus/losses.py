"""What each step of a corpus changed or left out, with examples, from what the corpus stored.

In: a corpus's report, `dropped.jsonl` and `quarantine.jsonl`. Out: a row for each step in the order
in which they run. The texts of records that were left out are stored nowhere; an example of one
says where it stands and, of a copy, which record it repeats. This module does not run any step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from noria.corpus.choose import Shown, Smallest
from noria.corpus.folder import left_out, source_of
from noria.records import Source

NUM_EXAMPLES = 3  # of each step
EXCERPT_CHARACTERS = 240
REASONS = {  # of dropped.jsonl, in the order of the steps
    "too short": "shorter than corpus.min_characters once it was clean",
    "too short without boilerplate": "too short without the lines that its source repeats",
    "quality": "beyond a limit of corpus.quality",
    "exact duplicate": "the same words as another record",
    "near duplicate": "a Jaccard similarity of 0.8 or more with another record",
    "contaminated": "shares a passage with a record that is measured on",
}


@dataclass(frozen=True)
class Example:
    """One thing that a step changed: where it stands, what was found, and a text, or nothing.

    `repeats`: the record that stayed instead; then the text is that record's.
    """

    source: Source
    what: str
    text: str
    repeats: Source | None = None


@dataclass(frozen=True)
class Step:
    """What one step did, how often, to what; whether those are records that are gone."""

    name: str
    says: str
    count: int
    unit: str
    gone: bool
    examples: tuple[Example, ...] = ()


def place(source: Source) -> str:
    """A source as file and line."""
    where = f"{source.file}:{source.line}" if source.line else source.file
    return where or f"interaction {source.interaction}"


def steps_of(folder: Path, report: Mapping[str, Any]) -> tuple[Step, ...]:
    """Every step that did something; a corpus older than a step has no row of it."""
    first = [_quarantine(report), *_changed(report), _boilerplate(report)]
    found = [one for one in [*first, *_left_out(folder, report)] if one.count]
    return (*found, *_quality_only_told(report))


def copies_wanted(steps: tuple[Step, ...]) -> frozenset[Source]:
    """The records that examples of copies repeat."""
    every = (one.repeats for step in steps for one in step.examples)
    return frozenset(one for one in every if one is not None)


def with_copies(steps: tuple[Step, ...], copies: Mapping[Source, Shown]) -> tuple[Step, ...]:
    """The steps with the texts of the records that stayed."""

    def told(one: Example) -> Example:
        kept = copies.get(one.repeats) if one.repeats is not None else None
        return one if kept is None else replace(one, text=kept.text[:EXCERPT_CHARACTERS])

    return tuple(
        replace(step, examples=tuple(told(one) for one in step.examples)) for step in steps
    )


def _quarantine(report: Mapping[str, Any]) -> Step:
    found = report.get("quarantined", {"total": 0, "reasons": {}})
    examples = []
    for reason, one in list(found["reasons"].items())[:NUM_EXAMPLES]:
        first = one["examples"][0]
        source = Source(first["file"], first["line"])
        examples.append(Example(source, f"{one['count']:,} × {reason}", first["value"]))
    return Step("quarantine", "no record at all", found["total"], "pieces", False, tuple(examples))


def _changed(report: Mapping[str, Any]) -> list[Step]:
    replaced = sum(report.get("identities", {}).values())
    return [
        Step("clean", "brought into one form", report.get("cleaned", 0), "texts", False),
        Step("de-identify", "replaced by what is nobody's", replaced, "values", False),
    ]


def _boilerplate(report: Mapping[str, Any]) -> Step:
    found = report.get("boilerplate", {})
    lines = [(name, line) for name, one in found.items() for line in one["examples"]]
    lines.sort(key=lambda one: -one[1]["num_removed"])
    examples = tuple(
        Example(
            Source(name),
            f"in {line['num_documents']:,} documents, removed {line['num_removed']:,} times",
            line["line"],
        )
        for name, line in lines[:NUM_EXAMPLES]
    )
    removed = sum(one["removed"] for one in found.values())
    says = "repeated over the documents of a source"
    return Step("boilerplate", says, removed, "lines", False, examples)


def _left_out(folder: Path, report: Mapping[str, Any]) -> list[Step]:
    counts: Counter[str] = Counter()
    chosen: dict[str, Smallest[Example]] = {}
    for line, value in left_out(folder):
        reason = value["reason"]
        counts[reason] += 1
        some = chosen.setdefault(reason, Smallest(NUM_EXAMPLES))
        some.offer(str(line), lambda value=value: _example(value))  # type: ignore[misc]
    order = [*REASONS, *sorted(set(counts) - set(REASONS))]
    stored = {"quality": _quality_examples(report), "contaminated": _passages(report)}
    return [
        Step(
            reason,
            REASONS.get(reason, "left out"),
            counts[reason],
            "records",
            True,
            stored.get(reason) or tuple(chosen[reason].kept()),
        )
        for reason in order
        if reason in counts
    ]


def _example(value: Mapping[str, Any]) -> Example:
    """An example from a line of dropped.jsonl."""
    source = source_of(value["source"])
    if "duplicate_of" in value:
        kept = source_of(value["duplicate_of"])
        how = "" if value["similarity"] == 1 else f", similarity {value['similarity']:.2f}"
        return Example(source, f"repeats {place(kept)}{how}", "", kept)
    if "measured" in value:
        measured = place(source_of(value["measured"]))
        return Example(source, f"shares a passage with {measured} ({value['set']})", "")
    signals = ", ".join(f"{name} {one:g}" for name, one in value.get("signals", {}).items())
    return Example(source, signals, "")


def _passages(report: Mapping[str, Any]) -> tuple[Example, ...]:
    """What is shared with what is measured on, as the report stored it."""
    found = [
        Example(
            source_of(one["source"]),
            f"shares this with {place(source_of(one['measured']))} ({some['set']})",
            one["passage"],
        )
        for some in report.get("contamination", ())
        for one in some["examples"]
    ]
    return tuple(found[:NUM_EXAMPLES])


def _quality_examples(report: Mapping[str, Any]) -> tuple[Example, ...]:
    """The first document beyond each limit, as the report stored it."""
    found = []
    for name, one in report.get("quality", {"limits": {}})["limits"].items():
        for first in one["examples"][:1]:
            what = f"{name} {first['value']:g}, the limit is {one['limit']:g}"
            more = f", which {one['documents']:,} exceed"
            found.append(Example(source_of(first["source"]), what + more, first["text"]))
    return tuple(found)


def _quality_only_told(report: Mapping[str, Any]) -> list[Step]:
    """Documents beyond a limit that stay, because the recipe only wants to know."""
    judged = report.get("quality", {"judge": "off", "documents": 0})
    if judged["judge"] != "report" or not judged["documents"]:
        return []
    says = "beyond a limit of corpus.quality, and kept"
    found = _quality_examples(report)
    return [Step("quality", says, judged["documents"], "records", False, found)]
