"""Completion: a text's beginning in, what the model writes after it out."""

from __future__ import annotations

from collections.abc import Iterator

from noria.generate.engine import draw_tokens
from noria.generate.loaded import LanguageModel
from noria.generate.sampling import Sampling
from noria.tasks.answer import Draw, Piece, answer_pieces


def complete(
    model: LanguageModel, prompt: str, sampling: Sampling, draw: Draw = draw_tokens
) -> Iterator[Piece]:
    """Continue a text; an empty prompt begins a new document.

    The prompt follows what stands before every sequence of this model. One that has nothing there
    begins a new document after an end token, as all of them do where they are packed.
    """
    tokenizer = model.tokenizer
    prompt_ids = [*tokenizer.start_ids, *tokenizer.encode(prompt)] or [tokenizer.end_id]
    return answer_pieces(model, prompt_ids, sampling, draw=draw)
