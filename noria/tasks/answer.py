"""An answer as pieces of text: what every task that writes gives back.

In: a prompt's ids. Out: pieces; the last one says why the answer ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

from noria.generate.drawing import Drawn
from noria.generate.engine import draw_tokens, fitted_prompt
from noria.generate.loaded import LanguageModel
from noria.generate.postprocess import TextStream
from noria.generate.sampling import Sampling
from noria.tokenizer.chat import stop_ids
from noria.tokenizer.load import Tokenizer

# Where tokens come from: `draw_tokens`, or an engine that draws for many.
Draw = Callable[[LanguageModel, Sequence[int], Sampling], Iterator[Drawn]]


@dataclass(frozen=True)
class Piece:
    """Some text of an answer.

    finish: None until the last piece, then "stop" (the model or a stop string ended it) or
    "length" (max_tokens or the context did). num_prompt_tokens: what the model read of the prompt;
    num_answer_tokens: what it wrote up to this piece, its end token included. drawn: the tokens
    that begin in this text, if their probabilities were asked for; none for one that only ends.
    """

    text: str
    finish: str | None
    num_prompt_tokens: int
    num_answer_tokens: int
    drawn: tuple[Drawn, ...] = ()


@final
class _Places:
    """Which tokens begin in the text that has left so far; a stop string takes its own away."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted
        self._held: list[tuple[int, Drawn]] = []
        self._num_left = 0

    def hold(self, start: int, drawn: Drawn) -> None:
        """A token, and how many characters stand before it."""
        if self._wanted:
            self._held.append((start, drawn))

    def release(self, text: str) -> tuple[Drawn, ...]:
        """The tokens that begin before the end of this text."""
        self._num_left += len(text)
        ready = [drawn for start, drawn in self._held if start < self._num_left]
        self._held = self._held[len(ready) :]
        return tuple(ready)


@final
class AnswerText:
    """Makes pieces of an answer's tokens while they come.

    num_prompt_tokens: what the model reads of the prompt. `lead` is left out of the text where the
    answer begins with it. Only the last piece may be empty; after it nothing may be pushed.
    """

    def __init__(
        self, tokenizer: Tokenizer, num_prompt_tokens: int, sampling: Sampling, lead: str = ""
    ) -> None:
        self._text = TextStream(tokenizer, sampling.stop, lead)
        self._ends = stop_ids(tokenizer)
        self._places = _Places(sampling.log_probs is not None)
        self._num_prompt = num_prompt_tokens
        self._num_answer = 0

    def push(self, drawn: Drawn) -> Piece | None:
        """One more token: the text that is certain by it, if any; the last piece, if it ends."""
        self._num_answer += 1
        if drawn.token_id in self._ends:
            return self._last("", "stop")
        self._places.hold(self._text.num_read, drawn)
        text = self._text.push(drawn.token_id)
        if self._text.stopped:
            return self._last(text, "stop")
        return self._piece(text, None) if text else None

    def end(self) -> Piece:
        """There are no more tokens: the last piece."""
        return self._last("", "length")

    def _last(self, text: str, finish: str) -> Piece:
        text += self._text.finish()
        return self._piece(text, "stop" if self._text.stopped else finish)

    def _piece(self, text: str, finish: str | None) -> Piece:
        drawn = self._places.release(text)
        return Piece(text, finish, self._num_prompt, self._num_answer, drawn)


def answer_pieces(
    model: LanguageModel,
    prompt_ids: Sequence[int],
    sampling: Sampling,
    lead: str = "",
    draw: Draw = draw_tokens,
) -> Iterator[Piece]:
    """Generate an answer; `lead` as in `AnswerText`. Raises as `generate_tokens` does."""
    num_prompt = len(fitted_prompt(prompt_ids, sampling, model.model.config.context_tokens))
    text = AnswerText(model.tokenizer, num_prompt, sampling, lead)
    for drawn in draw(model, prompt_ids, sampling):
        piece = text.push(drawn)
        if piece is not None:
            yield piece
            if piece.finish is not None:
                return
    yield text.end()
