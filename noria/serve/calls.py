"""An answer as OpenAI's API tells it: what it says, and what it calls.

In: the text of an answer, whole or in pieces. Out: content, one of `tool_calls`, the finish reason.
This module knows no HTTP and no model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from noria.tokenizer.tools import AnswerReader

TOOL_CALLS = "tool_calls"  # OpenAI's finish reason of an answer that ends with a call


@dataclass(frozen=True)
class Told:
    """Some more of an answer; `call` is new, or goes on, or None; the last has a finish reason."""

    text: str
    call: dict[str, Any] | None
    finish: str | None


@final
class Telling:
    """Tells one answer. With `may_call` calls are told from text; else all of it is text."""

    def __init__(self, interaction_id: str, may_call: bool) -> None:
        # The same each time that this answer is told: whoever asks again gets the same call.
        self._call_id = "call_" + interaction_id.rpartition("-")[2]
        self._reader = AnswerReader() if may_call else None

    def tell(self, text: str, finish: str | None) -> Told:
        """Some more of it, with a finish reason the last.

        A call that was cut keeps the reason that cut it: `tool_calls` says that it is whole.
        """
        if self._reader is None:
            return Told(text, None, finish)
        heard = self._reader.push(text)
        if finish is not None:
            heard = heard.then(self._reader.finish())
        if self._reader.called and finish in ("stop", "length"):
            finish = TOOL_CALLS
        call: dict[str, Any] | None = None
        if heard.name:
            function = {"name": heard.name, "arguments": heard.arguments}
            call = {"id": self._call_id, "type": "function", "function": function}
        elif heard.arguments:
            call = {"function": {"arguments": heard.arguments}}
        return Told(heard.text, call, finish)
