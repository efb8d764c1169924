"""A corpus as lines of a terminal: tables whose columns stand under each other, bars of blocks.

In: what `noria.data` found. Out: text. Chinese characters count as two columns.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, chop_cells

from noria.corpus.choose import Lost, Shown
from noria.corpus.lengths import Lengths
from noria.corpus.look import Look
from noria.corpus.losses import Example, Step, place
from noria.corpus.survey import Amount, Balance
from noria.records import Source

BAR_CELLS = 28
MAX_ROWS = 12  # of a table; --json has all
EXCERPT_CELLS = 100
TEXT_CHARACTERS = 1200  # of a record that was asked for
_EIGHTHS = " ▏▎▍▌▋▊▉"


def look_text(found: Look) -> str:
    """Everything that `noria data show` prints without a wish for samples."""
    files = f", read from {found.num_files:,} files" if found.num_files else ""
    parts = [
        f"{found.folder}\n{found.num_records:,} records{files}",
        _amounts("shape", found.survey.shapes),
        _amounts("source", found.survey.sources),
        _amounts("language", found.survey.languages),
        *(_lengths(one) for one in found.survey.lengths),
        *(_balance(one) for one in found.survey.balances),
        _fertility(found),
        _duplicates(found),
        _identities(found),
        _rebalanced(found),
        _steps(found),
        "a few records: --sample 3; what a step left out: --dropped REASON; as a page: --page FILE",
    ]
    return "\n\n".join(part for part in parts if part)


def _amounts(what: str, rows: Sequence[Amount]) -> str:
    has_tokens = any(row.tokens for row in rows)
    head = [what, "#records", "#train", "#held out", "#test", "#characters"]
    body = [
        [
            row.name,
            *(f"{one:,}" for one in (row.records, row.train, row.held_out, row.test)),
            f"{row.characters:,}",
            *([f"{row.tokens:,}" if row.tokens else "–"] if has_tokens else []),
        ]
        for row in rows
    ]
    return table([*head, *(["#tokens"] if has_tokens else [])], body)


def _lengths(one: Lengths) -> str:
    title = f"length of {one.what} in {one.unit}" if one.unit != "tokens" else "length in tokens"
    most = max(found.count for found in one.bins)
    rows = [
        [f"{found.low:,} to {found.high - 1:,}", bar(found.count / most), f"{found.count:,}"]
        for found in one.bins
    ]
    points = ", ".join(f"{percent}% {value:,}" for percent, value in one.quantiles)
    said = f"shortest {one.smallest:,}, {points}, longest {one.largest:,}"
    return f"{title}: {said}\n{table(['#', '', '#'], rows)}"


def _balance(one: Balance) -> str:
    total = sum(row.records for row in one.rows)
    most = one.rows[0].records
    rows = [
        [
            row.name,
            *(f"{count:,}" for count in (row.train, row.held_out, row.test)),
            f"{row.records / total:.1%}",
            bar(row.records / most),
        ]
        for row in one.rows
    ]
    what = "tag" if one.shape == "tagged" else "label"
    said = f"{len(one.rows):,} {what}s of {one.shape} records; the most frequent has "
    said += f"{most / max(1, one.rows[-1].records):,.0f} times the rarest's"
    return f"{said}\n{table([what, '#train', '#held out', '#test', '#share', ''], rows)}"


def _fertility(found: Look) -> str:
    rows = [
        [
            one.language,
            f"{one.tokens:,}",
            f"{one.tokens_per_byte:.3f}",
            f"{one.tokens_per_character:.2f}",
            f"{one.tokens_per_word:.2f}",
        ]
        for one in found.fertility
    ]
    head = ["held-out text", "#tokens", "#a byte", "#a character", "#a word"]
    return table(head, rows) if rows else ""


def _duplicates(found: Look) -> str:
    rows = [
        [
            one.source,
            "itself" if one.source == one.duplicate_of else one.duplicate_of,
            f"{one.exact:,}",
            f"{one.near:,}",
        ]
        for one in found.duplicates
    ]
    return table(["duplicates in", "of", "#exact", "#near"], rows) if rows else ""


def _identities(found: Look) -> str:
    said = ", ".join(f"{kind} {count:,}" for kind, count in found.identities)
    return f"identities replaced: {said}" if said else ""


def _rebalanced(found: Look) -> str:
    rows = [
        [one.source, f"{one.characters_before:,}", f"{one.characters:,}", f"{one.copies:.2f}"]
        for one in found.rebalanced
    ]
    return table(["balance", "#characters before", "#after", "#copies"], rows) if rows else ""


def _steps(found: Look) -> str:
    lines = ["what the steps did"]
    width = max((len(f"{step.count:,}") for step in found.steps), default=0)
    for step in found.steps:
        gone = " left out" if step.gone else ""
        lines.append(f"  {step.count:>{width},} {step.unit}{gone}: {step.name}, {step.says}")
        lines += [f"      {_example(step, one)}" for one in step.examples]
    lines.append(
        f"read {found.num_read:,}, left out {found.num_left_out:,}, written {found.num_records:,}"
    )
    return "\n".join(lines)


def _example(step: Step, one: Example) -> str:
    where = one.source.file if step.name == "boilerplate" else place(one.source)
    said = ", ".join(filter(None, (where, one.what)))
    return f"{said}: {excerpt(one.text)}" if one.text else said


def records_text(records: Sequence[Shown]) -> str:
    """Records that were asked for, each under the places where it stands and came from."""
    return "\n\n".join(
        f"── {one.file}:{one.line}  {one.shape}, {one.language}\n"
        f"   from {origin(one.source)}\n{_cut(one.text)}"
        for one in records
    )


def lost_text(every: Sequence[Lost]) -> str:
    """What was left out or could not be read, likewise."""
    lines = []
    for one in every:
        lines.append(f"── {one.file}:{one.line}  {one.reason}\n   from {origin(one.source)}")
        for name, value in one.more.items():
            said = place(Source(**value)) if name in ("duplicate_of", "measured") else value
            lines.append(f"   {name.replace('_', ' ')}: {said}")
    return "\n".join(lines)


def origin(source: Source) -> str:
    """Where a record came from: file, line, and bytes where they are known."""
    span = f", bytes {source.byte_start:,} to {source.byte_end:,}" if source.byte_end else ""
    return place(source) + span


def _cut(text: str) -> str:
    more = len(text) - TEXT_CHARACTERS
    return text if more <= 0 else f"{text[:TEXT_CHARACTERS]}… ({more:,} characters more)"


def excerpt(text: str) -> str:
    """The beginning of a text on one line."""
    line = " ".join(text.split())
    if cell_len(line) <= EXCERPT_CELLS:
        return line
    return chop_cells(line, EXCERPT_CELLS - 1)[0] + "…"


def bar(share: float) -> str:
    """A share of one as blocks, to an eighth of a column."""
    eighths = round(share * BAR_CELLS * 8)
    if share > 0:
        eighths = max(1, eighths)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns under each other; one whose name begins with `#` is set to the right.

    More rows than MAX_ROWS are counted in a last line.
    """
    right = [name.startswith("#") for name in head]
    shown = [[name.removeprefix("#") for name in head], *rows[:MAX_ROWS]]
    shown = [[excerpt(cell) for cell in row] for row in shown]
    widths = [max(cell_len(row[column]) for row in shown) for column in range(len(head))]
    lines = []
    for row in shown:
        cells = [
            " " * (width - cell_len(cell)) + cell
            if to_right
            else cell + " " * (width - cell_len(cell))
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        lines.append("  " + "  ".join(cells).rstrip())
    if not lines[0].strip():
        del lines[0]
    if len(rows) > MAX_ROWS:
        lines.append(f"  … and {len(rows) - MAX_ROWS:,} more: --json")
    return "\n".join(lines)
