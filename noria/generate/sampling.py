"""How the next token is chosen from the logits.

In: logits of one position, settings, a source of randomness. Out: one token id.
This module does not know models or text. Legend: V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from noria.errors import IntegrityError, UsageError

MAX_TEMPERATURE = 100.0
MAX_STOP_CHARACTERS = 1000


@dataclass(frozen=True)
class Sampling:
    """Settings of one answer. Raises UsageError for a value out of bounds.

    temperature 0 always takes the likeliest token; top_p keeps the smallest set of tokens that
    holds that share of the probability (Holtzman et al. 2020); top_k keeps the k likeliest, 0 all;
    the same seed gives the same answer, None another one each time; the answer ends before the
    first of the stop strings.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 256
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        seed = 0 if self.seed is None else self.seed
        for name, good, expected in (
            (
                "temperature",
                0 <= self.temperature <= MAX_TEMPERATURE,
                f"0 to {MAX_TEMPERATURE:g}",
            ),
            ("top_p", 0 < self.top_p <= 1, "above 0, at most 1"),
            ("top_k", self.top_k >= 0, "0 (all) or more"),
            ("max_tokens", self.max_tokens >= 1, "1 or more"),
            ("seed", -(2**63) <= seed < 2**63, "a whole number of 64 bits"),
            (
                "stop",
                all(0 < len(text) <= MAX_STOP_CHARACTERS for text in self.stop),
                f"strings of 1 to {MAX_STOP_CHARACTERS} characters",
            ),
        ):
            if not good:
                raise UsageError(f"{name} = {getattr(self, name)!r}", expected, "change the value")


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
    """What each token's chance is after temperature, top_k and top_p. (V,) -> (V,), sum 1."""
    # The largest is taken off first, so that a tiny temperature can't overflow.
    scaled = ((logits - logits.max()).double() / sampling.temperature).float()
    if 0 < sampling.top_k < scaled.shape[0]:
        kept, ids = scaled.topk(sampling.top_k)
        scaled = torch.full_like(scaled, float("-inf")).scatter(0, ids, kept)
    probabilities = scaled.softmax(dim=0)
    if sampling.top_p < 1:
        ordered, ids = probabilities.sort(descending=True, stable=True)
        before = ordered.cumsum(dim=0) - ordered
        ordered = torch.where(before < sampling.top_p, ordered, 0.0)
        probabilities = torch.zeros_like(probabilities).scatter(0, ids, ordered)
        probabilities = probabilities / probabilities.sum()
    return probabilities
