"""Completion: a text's beginning in, what the model writes after it out."""

from __future__ import annotations

from collections.abc import Iterator

from noria.generate.engine import draw_tokens
from noria.generate.loaded import LanguageModel
from noria.generate.sampling import Sampling
from noria.tasks.answer import Draw, Piece, answer_pieces
from noria.tokenizer.load import Tokenizer


def complete(
    model: LanguageModel, prompt: str, sampling: Sampling, draw: Draw = draw_tokens
) -> Iterator[Piece]:
    """Continue a text; an empty prompt begins a new document."""
    return answer_pieces(model, completion_ids(model.tokenizer, prompt), sampling, draw=draw)


def completion_ids(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """What the model reads of a text before it goes on.

    The prompt follows what stands before every sequence of this model. One that has nothing there
    begins a new document after an end token, as all of them do where they are packed.
    """
    return [*tokenizer.start_ids, *tokenizer.encode(prompt)] or [tokenizer.end_id]
