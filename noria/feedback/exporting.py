"""Everything that a tenant's people asked and said, as JSON Lines, and back.

In: a store or a file. Out: a file, or the same rows in a store; what is there already stays as it
is. The first line says what the file is, each other one holds an interaction or a feedback, in the
order stored. The texts are as the store gives them: decrypted, without identities. Persons keep
their pseudonyms.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from noria.errors import FormatError, InputError, NoriaError, StorageError
from noria.feedback.interactions import Feedback, Interaction
from noria.feedback.store import FeedbackStore
from noria.feedback.tables import Said

EXPORT_FORMAT = 1
ROWS_AT_ONCE = 256  # a transaction each
_TYPES = {"str": (str,), "int": (int,), "float": (int, float)}
_PSEUDONYM = re.compile(r"p-[0-9a-f]{32}")


def export_to(store: FeedbackStore, tenant: str, path: Path) -> int:
    """Write a tenant's rows to a file that only its owner reads; returns how many.

    The file is there whole or not at all. Raises StorageError.
    """
    feedback = store.feedback(tenant)  # what it speaks of was stored before it
    asked = store.interactions(tenant)
    there = {one.id for one in asked}  # what was said of an erased person's goes with it
    rows: list[Said] = [*asked, *(one for one in feedback if one.interaction_id in there)]
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(json.dumps({"noria_feedback": EXPORT_FORMAT}) + "\n")
                for row in rows:
                    file.write(json.dumps(_as_json(row), ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{path} can't be written ({error})", "a file in a folder") from error
    return len(rows)


def _as_json(row: Said) -> dict[str, Any]:
    values = asdict(row)
    del values["tenant"]  # whoever imports says whose it is
    return {type(row).__name__.lower(): values}


def import_from(store: FeedbackStore, tenant: str, path: Path) -> int:
    """Put the rows of an export into a tenant's store; returns how many the file has.

    A row that is there is not stored again, so an import that was stopped is simply repeated.
    Raises InputError, with the number of the line, for what can't be stored.
    """
    num_rows = 0
    for lines in _chunks(path):
        rows = [_from_json(store, tenant, path, number, line) for number, line in lines]
        try:
            results = store.store_many(tenant, rows)
        except NoriaError as error:
            if isinstance(error, StorageError):
                raise
            raise InputError(f"{path}, lines {lines[0][0]} to {lines[-1][0]}: {error}") from error
        for (number, _), result in zip(lines, results, strict=True):
            if isinstance(result, NoriaError):
                raise InputError(f"{path}:{number}: {result}") from result
        num_rows += len(rows)
    return num_rows


def _chunks(path: Path) -> Iterator[list[tuple[int, str]]]:
    """Numbered lines, some at a time, after the first one said what they are."""
    try:
        with path.open(encoding="utf-8") as file:
            try:
                found = json.loads(file.readline())["noria_feedback"]
            except (ValueError, KeyError, TypeError):
                found = None
            if found != EXPORT_FORMAT:
                raise FormatError(
                    f"{path} is no export of a feedback store",
                    f'a first line {{"noria_feedback": {EXPORT_FORMAT}}}',
                    "write one: noria store export",
                )
            chunk: list[tuple[int, str]] = []
            for number, line in enumerate(file, start=2):
                chunk.append((number, line))
                if len(chunk) == ROWS_AT_ONCE:
                    yield chunk
                    chunk = []
            if chunk:
                yield chunk
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read ({error})", "an export in UTF-8") from error


def _from_json(store: FeedbackStore, tenant: str, path: Path, number: int, line: str) -> Said:
    try:
        ((kind, values),) = json.loads(line).items()
        cls = {"interaction": Interaction, "feedback": Feedback}[kind]
        types = {one.name: one.type for one in fields(cls)}
        for name, value in values.items():
            if type(value) not in _TYPES[str(types[name])]:
                raise TypeError(name)
        person = values.get("person", "")
        if person and not _PSEUDONYM.fullmatch(person):
            person = store.pseudonym(tenant, person)
        said = cls(**{**values, "tenant": tenant, "person": person})
        assert isinstance(said, Interaction | Feedback)
        return said
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}:{number} is no interaction and no feedback",
            "a line as an export has it",
            "export again",
        ) from error
