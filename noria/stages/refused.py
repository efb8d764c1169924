"""Conversations that a chat format can't spell: kept aside and counted, never lost in silence.

In: conversations with the reason why not. Out: `quarantine.jsonl` in an artifact's folder, one
whole conversation a line, and the facts that the run's lines and the report's page show.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

from noria.records import Conversation, record_texts, record_to_json
from noria.stages.stage import Facts

QUARANTINE_FILE = "quarantine.jsonl"
MAX_VALUE_CHARACTERS = 200


@final
class Refused:
    """Collects what is refused while a folder is made."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / QUARANTINE_FILE
        self._reasons: dict[str, dict[str, Any]] = {}

    def add(self, record: Conversation, reason: str) -> None:
        """Write one down."""
        shown = "\n".join(record_texts(record))[:MAX_VALUE_CHARACTERS]
        example = {"file": record.source.file, "line": record.source.line, "value": shown}
        found = self._reasons.setdefault(reason, {"count": 0, "examples": [example]})
        found["count"] += 1
        line = json.dumps({"reason": reason, "record": record_to_json(record)}, ensure_ascii=False)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def facts(self, say: Callable[[str], None]) -> Facts:
        """What there was, under "quarantined" as a corpus has it; nothing if nothing. Says it."""
        if not self._reasons:
            return {}
        for reason, found in self._reasons.items():
            first = found["examples"][0]
            place = f"{first['file']}:{first['line']}" if first["line"] else first["file"]
            say(f"quarantine: {found['count']:,} × {reason}; the first {place}")
        total = sum(found["count"] for found in self._reasons.values())
        return {"quarantined": {"total": total, "reasons": self._reasons}}
