"""What could not be read: kept, counted and shown, never dropped in silence and never fatal.

In: a place in a file and what is wrong there. Out: a value that stands among the records. This
module does not know formats.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_VALUE_CHARACTERS = 200


@dataclass(frozen=True)
class Quarantined:
    """A piece of a file that is no record: the file, its line, what stands there, and why.

    `line` counts from 1, and is the row, page or element where a format has no lines; 0 means that
    the file, or all that follows in it, can't be read.
    """

    file: str
    line: int
    value: str
    reason: str


class WrongRow(Exception):
    """One row is no record; readers turn it into a Quarantined with the row's place."""

    def __init__(self, reason: str, value: object = "") -> None:
        self.reason = reason
        self.value = value
        super().__init__(reason)


def quarantined(file: str, line: int, value: object, reason: str) -> Quarantined:
    """Put a value in quarantine, cut to 200 characters and without what can't be written."""
    text = value if isinstance(value, str) else repr(value)
    text = _writable(text[: MAX_VALUE_CHARACTERS + 1])
    if len(text) > MAX_VALUE_CHARACTERS:
        text = text[: MAX_VALUE_CHARACTERS - 1] + "…"
    return Quarantined(file, line, text, _writable(reason))


def _writable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")
