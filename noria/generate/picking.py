"""How the next token is chosen from the logits.

In: logits of one position, settings, a source of randomness. Out: one token id.
This module does not know models or text. Legend: V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from noria.errors import IntegrityError
from noria.generate.sampling import Sampling


def random_source(sampling: Sampling) -> torch.Generator:
    """A generator of its own for one answer, seeded from the settings or from the system."""
    generator = torch.Generator()
    if sampling.seed is None:
        generator.seed()
    else:
        generator.manual_seed(sampling.seed)
    return generator


def pick(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """Choose a token. logits: (V,) float. Raises IntegrityError if they are not numbers."""
    best = int(logits.argmax())
    largest = float(logits[best])
    if largest != largest or abs(largest) == float("inf"):
        raise IntegrityError(
            "logits that are not numbers", "finite weights", "roll back to an earlier model"
        )
    if sampling.temperature == 0:
        return best
    probabilities = choice_probabilities(logits.float(), sampling)
    return int(torch.multinomial(probabilities, 1, generator=generator))


def choice_probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """Each token's chance after temperature, top_k, top_p and min_p. (V,) -> (V,), sum 1."""
    # The largest is taken off first, so that a tiny temperature can't overflow.
    scaled = ((logits - logits.max()).double() / sampling.temperature).float()
    if 0 < sampling.top_k < scaled.shape[0]:
        kept, ids = scaled.topk(sampling.top_k)
        scaled = torch.full_like(scaled, float("-inf")).scatter(0, ids, kept)
    probabilities = scaled.softmax(dim=0)
    if sampling.top_p < 1:
        ordered, ids = _likeliest(probabilities, sampling.top_p)
        before = ordered.cumsum(dim=0) - ordered
        ordered = torch.where(before < sampling.top_p, ordered, 0.0)
        probabilities = torch.zeros_like(probabilities).scatter(0, ids, ordered)
        probabilities = probabilities / probabilities.sum()
    if sampling.min_p > 0:
        least = probabilities.max() * sampling.min_p
        probabilities = torch.where(probabilities >= least, probabilities, 0.0)
        probabilities = probabilities / probabilities.sum()
    return probabilities


_FEW = 1024  # to sort 49,152 takes eight times as long as to find the largest of them


def _likeliest(probabilities: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Tokens in order, the likeliest first: all, or as many as hold that share for certain."""
    if len(probabilities) > _FEW:
        values, ids = probabilities.topk(_FEW)
        if float(values.sum()) > share:
            return values, ids
    ordered, ids = probabilities.sort(descending=True, stable=True)
    return ordered, ids
