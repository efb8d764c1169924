"""Completion: a text's beginning in, what the model writes after it out."""

from __future__ import annotations

from collections.abc import Iterator

from noria.generate.loaded import LanguageModel
from noria.generate.sampling import Sampling
from noria.tasks.answer import Piece, answer_pieces


def complete(model: LanguageModel, prompt: str, sampling: Sampling) -> Iterator[Piece]:
    """Continue a text; an empty prompt begins a new document.

    The prompt follows an end token, as every document does in training.
    """
    prompt_ids = [model.tokenizer.end_id, *model.tokenizer.encode(prompt)]
    return answer_pieces(model, prompt_ids, sampling)
