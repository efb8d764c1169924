"""How likely a model finds each token of a sequence, and which it finds likeliest there.

In: a loaded model and ids. Out: natural logarithms of probabilities. One pass over the sequence,
float32, over the ids that the tokenizer has, as answers are drawn; before any temperature.
This module does not know text. Legend: T tokens of the sequence, C width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from noria.errors import UsageError
from noria.generate.loaded import LanguageModel

_CHUNK_TOKENS = 256  # whose logits exist at a time


@dataclass(frozen=True)
class TokenScores:
    """Of each token but the first: ln P(token | those before it), and the likeliest ids there.

    `best` has pairs of id and ln P, the likeliest first.
    """

    log_probs: tuple[float, ...]
    best: tuple[tuple[tuple[int, float], ...], ...]


@torch.inference_mode()
def score_tokens(model: LanguageModel, ids: Sequence[int], num_best: int) -> TokenScores:
    """Score every token of a sequence but its first.

    Raises UsageError for ids that the tokenizer does not have, none at all, or more than the
    model's context holds and one, which is scored but not read.
    """
    vocab_size, context_tokens = model.tokenizer.vocab_size, model.model.config.context_tokens
    if not ids or not all(0 <= one < vocab_size for one in ids):
        raise UsageError("unknown token ids, or none", f"ids from 0 to {vocab_size - 1}")
    if len(ids) - 1 > context_tokens:
        raise UsageError(
            f"{len(ids)} tokens to score", f"at most {context_tokens + 1}", "shorten the text"
        )
    if len(ids) == 1:
        return TokenScores((), ())
    device = model.model.embedding.weight.device
    hidden = model.model(torch.tensor([list(ids[:-1])], device=device))[0]  # (T-1, C)
    targets = torch.tensor(list(ids[1:]), device=device)
    log_probs: list[float] = []
    best: list[tuple[tuple[int, float], ...]] = []
    for start in range(0, len(targets), _CHUNK_TOKENS):
        part = slice(start, start + _CHUNK_TOKENS)
        logits = model.model.logits(hidden[part])[:, :vocab_size].float()  # (chunk, V)
        scores = logits.log_softmax(dim=-1)
        log_probs += scores.gather(-1, targets[part, None]).squeeze(-1).tolist()
        values, places = scores.topk(min(num_best, vocab_size), dim=-1)
        best += [
            tuple(zip(*row, strict=True))
            for row in zip(places.tolist(), values.tolist(), strict=True)
        ]
    return TokenScores(tuple(log_probs), tuple(best))
