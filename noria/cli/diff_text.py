"""What changed between two corpora as lines of a terminal; what must not happen stands first.

In: what `noria.data` found. Out: text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from noria.cli.data_text import excerpt, origin, table
from noria.corpus.choose import Shown
from noria.corpus.difference import Change, Count, Difference
from noria.data import Compared

MAX_FILES = 12


def compared_text(found: Compared) -> str:
    """Everything that `noria data diff` prints."""
    one = found.difference
    parts = [
        f"{found.before}\n→ {found.after}",
        _leaked(one),
        _settings(found),
        _records(one),
        _counts("split", one.splits),
        _counts("source", one.sources),
        _counts("language", one.languages),
        _files(one),
        _examples([change for change in one.examples if change.kind != "leaked"]),
    ]
    return "\n\n".join(part for part in parts if part)


def _leaked(one: Difference) -> str:
    if not one.leaked:
        return "no text that was held out or tested on is trained on now"
    said = (
        f"✗✗ {one.leaked:,} TEXTS THAT WERE HELD OUT OR TESTED ON ARE TRAINED ON NOW ✗✗\n"
        "Scores of models that learn from the later corpus can't be compared with earlier ones. "
        "Set corpus.split to group, record or time: by such a rule nothing moves."
    )
    shown = _examples([change for change in one.examples if change.kind == "leaked"])
    return f"{said}\n{shown}" if shown else said


def _settings(found: Compared) -> str:
    rows = [[one.name, _value(one.before), _value(one.after)] for one in found.settings]
    lines = [table(["setting", "before", "after"], rows)] if rows else ["settings: the same"]
    if found.inputs:
        lines.append(f"other files, or other content of them: {', '.join(found.inputs)}")
    return "\n".join(lines)


def _value(value: object) -> str:
    return "–" if value is None else json.dumps(value, ensure_ascii=False)


def _records(one: Difference) -> str:
    moves = sum(move.records for move in one.moves)
    rows = [
        ["the same", one.same, f"{one.relocated:,} of them at another place of the originals"],
        ["relabelled", one.relabelled, "the same text with other labels, tags, roles or shape"],
        ["changed", one.changed, "another text at the same place"],
        ["added", one.added, ""],
        ["removed", one.removed, ""],
    ]
    shown = [[str(name), f"{count:,}", str(said)] for name, count, said in rows]
    lines = [
        f"records: {one.records_before:,} → {one.records_after:,}",
        table(["", "#", ""], shown),
        f"  moved between splits: {moves:,}",
    ]
    lines += [f"    {move.before} → {move.after}: {move.records:,}" for move in one.moves]
    return "\n".join(lines)


def _counts(what: str, counts: Sequence[Count]) -> str:
    rows = [
        [one.name, f"{one.before:,}", f"{one.after:,}", f"{one.after - one.before:+,}"]
        for one in counts
    ]
    return table([what, "#before", "#after", "#"], rows)


def _files(one: Difference) -> str:
    if not one.files:
        return "files: the same"
    lines = ["files: " + ", ".join(f"{count:,} {what}" for what, count in one.num_files.items())]
    lines += [
        f"  {file.what}: {file.file}, {file.before:,} → {file.after:,} records"
        for file in one.files[:MAX_FILES]
    ]
    rest = sum(one.num_files.values()) - MAX_FILES
    return "\n".join([*lines, f"  … and {rest:,} more: --json"] if rest > 0 else lines)


def _examples(changes: Sequence[Change]) -> str:
    lines = []
    for one in changes:
        lines.append(f"── {one.kind}")
        if one.before is not None:
            lines += _side("−", one.before)
        if one.after is not None:
            lines += _side("+", one.after)
    return "\n".join(lines)


def _side(mark: str, record: Shown) -> list[str]:
    return [
        f" {mark} {record.file}:{record.line}  from {origin(record.source)}",
        f"   {excerpt(record.text)}",
    ]
