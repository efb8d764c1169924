"""The server's log as JSON lines, without a word of what users wrote.

In: log records of this process. Out: one JSON object a line. A record of our own keeps its
message; of any other library only the unfilled pattern, since what fills it may be a user's text.
An exception is told by its type and where it was raised, not by its message.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from noria.errors import StorageError

STANDARD_ERROR = "-"
MAX_FRAMES = 12


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; see the module."""
        own = record.name.split(".")[0] == "noria"
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage() if own else str(record.msg),
            **getattr(record, "request", {}),
        }
        if record.exc_info and record.exc_info[0] is not None:
            frames = traceback.extract_tb(record.exc_info[2])[-MAX_FRAMES:]
            line["error"] = record.exc_info[0].__name__
            line["frames"] = [f"{Path(one.filename).name}:{one.lineno}" for one in frames]
        return json.dumps(line, ensure_ascii=False)


@contextmanager
def json_log(target: str, level: int = logging.INFO) -> Iterator[None]:
    """Write the log of this process to a file, or to standard error for "-", while open.

    Below `level` nothing is written: at WARNING there is no line for each request.

    Raises StorageError if the file can't be written.
    """
    handler: logging.Handler
    if target == STANDARD_ERROR:
        handler = logging.StreamHandler(sys.stderr)
    else:
        try:
            handler = logging.FileHandler(target, encoding="utf-8")
        except OSError as error:
            raise StorageError(
                f"{target} can't be written ({error.strerror})", "a file of the log", "name another"
            ) from error
    handler.setFormatter(JsonLines())
    handler.setLevel(level)
    root, ours = logging.getLogger(), logging.getLogger("noria")
    level_before = ours.level
    root.addHandler(handler)
    ours.setLevel(level)
    try:
        yield
    finally:
        ours.setLevel(level_before)
        root.removeHandler(handler)
        handler.close()
