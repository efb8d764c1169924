"""The lock: choices made by measuring, written once, obeyed by every rerun, resume and test.

In: a file beside the recipe. Out: the stored choice for a question, or the one just measured.
Delete the file, or one entry of it, to measure again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from noria.artifacts import atomic_write
from noria.errors import FormatError

LOCK_FORMAT = 1


class Lock:
    """A JSON file of questions and measured answers."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> dict[str, dict[str, Any]]:
        """Every question and its answer. Raises FormatError if the file can't be read."""
        if not self.path.exists():
            return {}
        try:
            value = json.loads(self.path.read_text(encoding="utf-8"))
            if value["lock_format"] != LOCK_FORMAT:
                raise ValueError(f"lock_format {value['lock_format']}")
            return {name: dict(entry) for name, entry in value["choices"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise FormatError(
                f"{self.path} can't be read ({error})",
                f"a lock of format {LOCK_FORMAT}",
                "delete it to measure again",
            ) from error

    def obtain(self, question: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The stored answer, or else measure one and store it before it is used."""
        entries = self.entries()
        if question not in entries:
            entries[question] = measure()
            value = {"lock_format": LOCK_FORMAT, "choices": entries}
            atomic_write(self.path, json.dumps(value, indent=1, sort_keys=True).encode() + b"\n")
        return dict(entries[question])
