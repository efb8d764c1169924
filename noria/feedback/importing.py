"""Feedback that other tools collected: a CSV or JSON Lines file into the store.

In: a file, a store, what the rows are about. Out: interactions and feedback, on disk; how much was
there already, how much said nothing, and every row that can't be read, with line and reason.

Running it again changes nothing: a row's content, and which repetition of it this is, make its
idempotency key. What a row is about is found by its interaction's id; where the store does not know
that, the row's prompt and answer become an interaction, which no weights of ours gave.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any

from noria.artifacts import file_digest
from noria.corpus.read.columns import Wanted
from noria.corpus.read.files import SourceFile
from noria.corpus.read.formats import format_of
from noria.corpus.read.jsonrows import json_line_rows
from noria.corpus.read.quarantine import Quarantined, quarantined
from noria.corpus.read.shapes import Row
from noria.corpus.read.tables import table_rows
from noria.errors import InputError, IntegrityError, NoriaError, StorageError, UnknownName
from noria.feedback.import_columns import FEEDBACK_ROLES, Columns, thumb_of, understand_columns
from noria.feedback.interactions import chat_prompt, message_of
from noria.feedback.store import FeedbackStore
from noria.records import Message, text_content

SAMPLE_ROWS = 200
FORMATS = ("csv", "tsv", "jsonl")
LATEST_SECONDS = 1e11  # a larger number is milliseconds: in seconds it is the year 5138


@dataclass(frozen=True)
class About:
    """Whose feedback it is, and of which model.

    `kind` is what a prompt without roles is: "chat" or "completion"; "task" for an application.
    """

    tenant: str
    model_name: str
    kind: str = "chat"


@dataclass
class Imported:
    """What became of a file's rows; every row is in one of the four counts."""

    how: str = ""
    num_rows: int = 0
    num_stored: int = 0
    num_known: int = 0
    num_silent: int = 0
    wrong: list[Quarantined] = field(default_factory=list)
    num_feedback: int = 0  # pieces stored: a row may hold a thumb and a comment


class _Wrong(Exception):
    """A row that can't be read, and why."""


def import_feedback(
    store: FeedbackStore, file: Path, about: About, columns: Mapping[str, str] | None = None
) -> Imported:
    """Store the feedback of every row; `columns` names those that are not found by themselves.

    Raises InputError for a file that can't be read or whose columns are not understood, UsageError
    for a role that does not exist. An error of one row is told, and the others go on.
    """
    if not file.is_file():
        raise InputError(f"{file} is no file", "a CSV or JSON Lines file", "check the path")
    source = SourceFile(file.name, file, file_digest(file))
    try:
        rows, how = _rows(source)
        sample = list(islice(rows, SAMPLE_ROWS))
    except InputError as error:
        raise InputError(f"{file}: {error.given}", error.expected, error.fix) from error
    good = [one.values for one in sample if isinstance(one, Row)]
    told = Imported()
    told.wrong = [one for one in sample if isinstance(one, Quarantined)] if not good else []
    if not good:
        what = f": {told.wrong[0].reason}" if told.wrong else ""
        raise InputError(f"{file} has no row{what}", "rows of feedback", "check the file")
    found = understand_columns(good, columns or {}, labels=about.kind == "task")
    told.how = f"{how}; {found.says()}"
    writer = _Writer(store, about, found)
    for row in chain(sample, rows):
        told.num_rows += 1
        if isinstance(row, Quarantined):
            told.wrong.append(row)
            continue
        try:
            num_stored, num_known = writer.write(row.values)
        except (StorageError, IntegrityError):  # of the store, not of this row
            raise
        except (_Wrong, NoriaError) as error:
            told.wrong.append(quarantined(file.name, row.source.line, "", str(error)))
            continue
        told.num_feedback += num_stored
        told.num_stored += bool(num_stored)
        told.num_known += bool(num_known and not num_stored)
        told.num_silent += not num_stored and not num_known
    return told


def _rows(source: SourceFile) -> tuple[Iterator[Row | Quarantined], str]:
    wanted = Wanted()
    format_ = format_of(source, wanted)
    if format_ not in FORMATS:
        raise InputError(
            "not named as a table",
            "a name that ends with .csv, .tsv or .jsonl",
            "rename or convert it",
        )
    return json_line_rows(source, wanted) if format_ == "jsonl" else table_rows(source, wanted)


class _Writer:
    """Writes rows, and counts how often each content came."""

    def __init__(self, store: FeedbackStore, about: About, columns: Columns) -> None:
        self._store, self._about, self._of_role = store, about, columns.of_role
        self._known = {one.id for one in store.feedback(about.tenant)}
        self._came: Counter[str] = Counter()

    def write(self, values: Mapping[str, Any]) -> tuple[int, int]:
        """How much of a row was stored now, and how much was there. Raises _Wrong, NoriaError."""
        row = {role: _text(values.get(name)) for role, name in self._of_role.items()}
        given = {kind: row[kind] for kind in FEEDBACK_ROLES if row.get(kind)}
        if "thumb" in given:
            given["thumb"] = thumb_of(values[self._of_role["thumb"]])
            if not given["thumb"]:
                raise _Wrong(f"a rating that is no thumb: {row['thumb'][:20]!r}")
        is_pair = bool(row.get("chosen") and row.get("rejected"))
        if not given and not is_pair:
            return 0, 0
        when = _time(row["when"]) if row.get("when") else None
        if is_pair:
            better = self._interaction({**row, "interaction": "", "answer": row["chosen"]}, when)
            worse = self._interaction({**row, "interaction": "", "answer": row["rejected"]}, when)
            found = [self._say(better, "preference", worse, row.get("person", ""), when)]
        else:
            found = []
        if given:
            if "thumb" in given and not (row.get("interaction") or row.get("answer")):
                raise _Wrong("a thumb without the answer that it was given to")
            asked = self._interaction(row, when)
            found += [
                self._say(asked, kind, value, row.get("person", ""), when)
                for kind, value in given.items()
            ]
        return sum(found), len(found) - sum(found)

    def _interaction(self, row: Mapping[str, str], when: float | None) -> str:
        """The id of what a row is about; made if the store does not know it."""
        tenant, foreign = self._about.tenant, row.get("interaction", "")
        if foreign:
            try:
                return self._store.find(tenant, foreign).id
            except UnknownName:
                if not row.get("prompt"):
                    raise
        if not row.get("prompt"):
            raise _Wrong("neither an interaction nor a prompt")
        prompt, kind = self._prompt(row["prompt"])
        answer = row.get("answer", "")
        if kind == "task":
            answer = _task_answer(answer)
        name = _digest([self._about.model_name, foreign, kind, prompt, answer])
        return self._store.record_interaction(
            tenant=tenant,
            interaction_id=f"imported-{name[:32]}",
            model_name=self._about.model_name,
            weight_hash="",
            kind=kind,
            prompt=prompt,
            answer=answer,
            created_at=when,
            idempotency_key=f"import-{name}",
        ).id

    def _prompt(self, text: str) -> tuple[str, str]:
        """A prompt as an interaction has it, and of which kind that is."""
        if self._about.kind != "task" and text.lstrip().startswith("["):
            try:
                turns = [message_of(one) for one in json.loads(text)]
            except (ValueError, KeyError, TypeError, RecursionError):
                turns = []
            if turns:
                return chat_prompt(turns), "chat"
        if self._about.kind == "chat":
            return chat_prompt([Message("user", text_content(text))]), "chat"
        return text, self._about.kind

    def _say(
        self, interaction: str, kind: str, value: str, person: str, when: float | None
    ) -> bool:
        """Store one piece; False if it was there."""
        content = _digest([interaction, kind, value, person, str(when)])
        self._came[content] += 1
        said = self._store.record_feedback(
            self._about.tenant,
            interaction,
            kind,
            value,
            person=person,
            created_at=when,
            idempotency_key=f"import-{_digest([content, str(self._came[content])])}",
        )
        is_new = said.id not in self._known
        self._known.add(said.id)
        return is_new


def _text(value: Any) -> str:
    """A value as text; a list or an object as JSON, nothing as ""."""
    if value is None:
        return ""
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value).strip()


def _task_answer(answer: str) -> str:
    """What another tool predicted, as an application answers: JSON with labels or spans."""
    if answer.startswith(("{", "[")):
        try:
            value = json.loads(answer)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            return answer
        if isinstance(value, list):
            return json.dumps({"labels": value}, ensure_ascii=False)
    return json.dumps({"labels": [answer] if answer else []}, ensure_ascii=False)


def _time(text: str) -> float:
    """Seconds since 1970 of a number (seconds or milliseconds) or an ISO 8601 time, UTC if bare."""
    try:
        number = float(text)
    except ValueError:
        try:
            found = datetime.fromisoformat(text)
        except ValueError as error:
            raise _Wrong(f"a time that is none: {text[:40]!r}") from error
        bare = found.tzinfo is None
        return (found.replace(tzinfo=UTC) if bare else found).timestamp()
    if not 0 <= number < LATEST_SECONDS * 1000:
        raise _Wrong(f"a time that is none: {text[:40]!r}")
    return number / 1000 if number > LATEST_SECONDS else number


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8")).hexdigest()
