"""An answer as pieces of text: what every task that writes gives back.

In: a prompt's ids. Out: pieces; the last one says why the answer ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from noria.generate.engine import fitted_prompt, generate_tokens
from noria.generate.loaded import LanguageModel
from noria.generate.postprocess import TextStream
from noria.generate.sampling import Sampling
from noria.tokenizer.chat import stop_ids


@dataclass(frozen=True)
class Piece:
    """Some text of an answer.

    finish: None until the last piece, then "stop" (the model or a stop string ended it) or
    "length" (max_tokens or the context did). num_prompt_tokens: what the model read of the prompt;
    num_answer_tokens: what it wrote up to this piece, its end token included.
    """

    text: str
    finish: str | None
    num_prompt_tokens: int
    num_answer_tokens: int


def answer_pieces(
    model: LanguageModel, prompt_ids: Sequence[int], sampling: Sampling, lead: str = ""
) -> Iterator[Piece]:
    """Generate an answer; only the last piece may be empty. Raises as `generate_tokens` does.

    `lead` is left out of the text where the answer begins with it.
    """
    context_tokens = model.model.config.context_tokens
    num_prompt = len(fitted_prompt(prompt_ids, sampling, context_tokens))
    text = TextStream(model.tokenizer, sampling.stop, lead)
    ends = stop_ids(model.tokenizer)
    finish, num_answer, last = "length", 0, ""
    for token_id in generate_tokens(model, prompt_ids, sampling):
        num_answer += 1
        if token_id in ends:
            finish = "stop"
            break
        last = text.push(token_id)
        if text.stopped:
            break
        if last:
            yield Piece(last, None, num_prompt, num_answer)
            last = ""
    last += text.finish()
    yield Piece(last, "stop" if text.stopped else finish, num_prompt, num_answer)
