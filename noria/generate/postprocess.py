"""Token ids to text while they come: whole characters only, and nothing after a stop string.

In: ids one by one. Out: pieces of text that, joined, are the whole answer.
This module does not know models.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import final

from noria.tokenizer.load import Tokenizer


@final
class TextStream:
    """Turns ids into text pieces. After `stopped`, nothing comes out any more.

    Of several stop strings the one that is complete first counts, whatever tokens spell it; the
    text ends before it. `lead`, one character or none, is dropped from the text's beginning.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = (), lead: str = "") -> None:
        self._lead = lead
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""  # text that may turn out to be the start of a stop string
        self.stopped = False
        self.num_read = 0  # characters of all tokens so far, held back or not

    def push(self, token_id: int) -> str:
        """Add one token; returns the text that is now certain, maybe none."""
        text = self._decoder.decode(self._tokenizer.token_bytes(token_id))
        self.num_read += len(text)
        return self._release(text)

    def finish(self) -> str:
        """End the text: returns what was held back; torn UTF-8 becomes U+FFFD."""
        piece = self._release(self._decoder.decode(b"", final=True))
        rest, self._held = self._held, ""
        return piece + rest

    def _release(self, text: str) -> str:
        if self.stopped:
            return ""
        if text:
            text, self._lead = text.removeprefix(self._lead), ""
        self._held += text
        found = self._first_stop()
        if found is not None:
            self.stopped = True
            piece, self._held = self._held[:found], ""
            return piece
        num_kept = self._num_doubtful()
        cut = len(self._held) - num_kept
        piece, self._held = self._held[:cut], self._held[cut:]
        return piece

    def _first_stop(self) -> int | None:
        """Where the stop string that ends first begins; of those that end together, the longest."""
        ends = [
            (self._held.find(stop) + len(stop), self._held.find(stop))
            for stop in self._stop
            if stop in self._held
        ]
        return min(ends)[1] if ends else None

    def _num_doubtful(self) -> int:
        """Length of the longest end of the held text that begins a stop string."""
        return max(
            (
                length
                for stop in self._stop
                for length in range(1, min(len(stop), len(self._held) + 1))
                if self._held.endswith(stop[:length])
            ),
            default=0,
        )
