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


def answer_pieces(
    model: LanguageModel,
    prompt_ids: Sequence[int],
    sampling: Sampling,
    lead: str = "",
    draw: Draw = draw_tokens,
) -> Iterator[Piece]:
    """Generate an answer; only the last piece may be empty. Raises as `generate_tokens` does.

    `lead` is left out of the text where the answer begins with it.
    """
    context_tokens = model.model.config.context_tokens
    num_prompt = len(fitted_prompt(prompt_ids, sampling, context_tokens))
    text = TextStream(model.tokenizer, sampling.stop, lead)
    ends = stop_ids(model.tokenizer)
    places = _Places(sampling.log_probs is not None)
    finish, num_answer, last = "length", 0, ""
    for drawn in draw(model, prompt_ids, sampling):
        num_answer += 1
        if drawn.token_id in ends:
            finish = "stop"
            break
        places.hold(text.num_read, drawn)
        last = text.push(drawn.token_id)
        if text.stopped:
            break
        if last:
            yield Piece(last, None, num_prompt, num_answer, places.release(last))
            last = ""
    last += text.finish()
    finish = "stop" if text.stopped else finish
    yield Piece(last, finish, num_prompt, num_answer, places.release(last))
