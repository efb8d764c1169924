"""The settings of one answer: how its tokens are chosen, and where it ends.

In: values. Out: one checked value, for `picking` and the engine. This module does not know torch,
so that whoever only hands settings on does without it.
"""

from __future__ import annotations

from dataclasses import dataclass

from noria.errors import UsageError
from noria.generate.forms import Constraint

MAX_TEMPERATURE = 100.0
MAX_STOP_CHARACTERS = 1000
MAX_PENALTY = 100.0
MAX_LOG_PROBS = 100
_PENALTIES = f"-{MAX_PENALTY:g} to {MAX_PENALTY:g}"


@dataclass(frozen=True)
class Sampling:
    """Settings of one answer. Raises UsageError for a value out of bounds.

    temperature 0 always takes the likeliest token; top_p keeps the smallest set of tokens that
    holds that share of the probability (Holtzman et al. 2020); top_k keeps the k likeliest, 0 all;
    min_p keeps those that have that share of the likeliest's probability (Nguyen et al. 2024).
    repetition_penalty divides the logit of what stands in prompt or answer (multiplies it where it
    is below 0; Keskar et al. 2019); presence_penalty is taken off what stands in the answer,
    frequency_penalty as often as it stands there (OpenAI's); logit_bias is added to the logits of
    single tokens. log_probs: so many of the likeliest tokens are told beside each token, None: not
    even its own probability. constraint: the form that the answer must have. The same seed gives
    the same answer, None another one each time; the answer ends before the first of the stop
    strings.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 256
    seed: int | None = None
    stop: tuple[str, ...] = ()
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    log_probs: int | None = None
    constraint: Constraint | None = None

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
            ("min_p", 0 <= self.min_p <= 1, "0 to 1"),
            (
                "repetition_penalty",
                1 / MAX_PENALTY <= self.repetition_penalty <= MAX_PENALTY,
                f"{1 / MAX_PENALTY:g} to {MAX_PENALTY:g}",
            ),
            ("presence_penalty", abs(self.presence_penalty) <= MAX_PENALTY, _PENALTIES),
            ("frequency_penalty", abs(self.frequency_penalty) <= MAX_PENALTY, _PENALTIES),
            (
                "logit_bias",
                all(one >= 0 and abs(bias) <= MAX_PENALTY for one, bias in self.logit_bias),
                f"ids from 0, with biases from {_PENALTIES}",
            ),
            (
                "log_probs",
                self.log_probs is None or 0 <= self.log_probs <= MAX_LOG_PROBS,
                f"0 to {MAX_LOG_PROBS}",
            ),
        ):
            if not good:
                raise UsageError(f"{name} = {getattr(self, name)!r}", expected, "change the value")
