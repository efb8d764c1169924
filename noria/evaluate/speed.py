"""How fast a loaded model answers, and how much memory that takes: seconds in, intervals out.

In: a loaded model and prompts. Out: timings of whole answers, one at a time, and their medians and
95th percentiles. Measured is what this process does on this machine: no network, no queue.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from noria.errors import UsageError
from noria.evaluate.harness import Progress
from noria.evaluate.metrics import Interval
from noria.generate.engine import generate_tokens
from noria.generate.loaded import LanguageModel
from noria.generate.sampling import Sampling
from noria.runtime import peak_memory_bytes

MIN_ANSWERS = 6  # the fewest whose median has a 95% interval: 2 · 0.5^6 < 0.05
ORDER_STATISTICS = "order statistics, exact"
ONE_READING = "one reading"


@dataclass(frozen=True)
class Timing:
    """One answer: seconds to its first token and to its last, and how many tokens it has."""

    first_token_s: float
    answer_s: float
    num_tokens: int


@dataclass(frozen=True)
class SpeedMetric:
    """A number about speed or memory: its name with its unit, and how its interval was found."""

    name: str
    value: Interval
    interval: str


def time_answers(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    max_answers: int,
    budget_s: float,
    progress: Progress | None = None,
) -> list[Timing]:
    """Answer prompts one after another, as `time_in_turn` does with a single model."""
    (found,) = time_in_turn([model], prompts, max_tokens, max_answers, budget_s, progress)
    return found


def time_in_turn(
    models: Sequence[LanguageModel],
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    max_answers: int,
    budget_s: float,
    progress: Progress | None = None,
) -> list[list[Timing]]:
    """Each model's timings: all answer a prompt before the next, so that a busy machine slows all.

    Always by the likeliest token; the first answer of each is not counted. Ends after `max_answers`
    of each, or with MIN_ANSWERS at least when `budget_s` seconds are over. Raises UsageError for no
    prompt, and as `generate_tokens` does.
    """
    if not prompts:
        raise UsageError("no prompt to answer", "one at least", "hold back some text")
    sampling = Sampling(temperature=0, max_tokens=max_tokens)
    for model in models:
        _timed(model, prompts[0], sampling)  # memory is touched, kernels are chosen
    found: list[list[Timing]] = [[] for _ in models]
    began_s = time.perf_counter()
    for number in range(max_answers):
        if number >= MIN_ANSWERS and time.perf_counter() - began_s > budget_s:
            break
        for model, timings in zip(models, found, strict=True):
            timings.append(_timed(model, prompts[number % len(prompts)], sampling))
        if progress is not None:
            progress(number + 1, max_answers)
    return found


def _timed(model: LanguageModel, prompt_ids: Sequence[int], sampling: Sampling) -> Timing:
    began_s = time.perf_counter()
    tokens = generate_tokens(model, prompt_ids, sampling)
    next(tokens)
    first_s = time.perf_counter() - began_s
    num_tokens = 1 + sum(1 for _ in tokens)
    return Timing(first_s, time.perf_counter() - began_s, num_tokens)


def speed_metrics(timings: Sequence[Timing]) -> Iterator[SpeedMetric]:
    """Medians and 95th percentiles; and the most memory that this process has held since its reset.

    tokens_per_s is of the tokens after the first, in answers that have some.
    """
    for name, values in (
        ("first_token_s", [one.first_token_s for one in timings]),
        ("answer_s", [one.answer_s for one in timings]),
    ):
        for label, quantile in (("median", 0.5), ("p95", 0.95)):
            interval = quantile_interval(values, quantile)
            yield SpeedMetric(f"{name}, {label}", interval, ORDER_STATISTICS)
    rates = tokens_per_s(timings)
    if rates:
        yield SpeedMetric("tokens_per_s, median", quantile_interval(rates, 0.5), ORDER_STATISTICS)
    memory = float(peak_memory_bytes())
    yield SpeedMetric("peak_memory_bytes", Interval(memory, memory, memory), ONE_READING)


def tokens_per_s(timings: Sequence[Timing]) -> list[float]:
    """The rate of each answer after its first token; answers of one token have none."""
    return [
        (one.num_tokens - 1) / (one.answer_s - one.first_token_s)
        for one in timings
        if one.num_tokens > 1
    ]


def quantile_interval(
    values: Sequence[float], quantile: float, confidence: float = 0.95
) -> Interval:
    """A quantile of values above zero, and its interval whatever their distribution.

    The ends are two of the values themselves, by the binomial distribution of how many lie below
    (David & Nagaraja 2003, section 7.1); 0 or infinity where too few were measured for one. The
    values count as independent. Raises UsageError for no values.
    """
    if not values:
        raise UsageError("no values", "one at least")
    ordered, num = sorted(values), len(values)
    tail = (1 - confidence) / 2
    chances = [
        math.comb(num, k) * quantile**k * (1 - quantile) ** (num - k) for k in range(num + 1)
    ]
    below = np.cumsum(chances)  # P(at most k values lie below the quantile)
    low_rank = int((below <= tail).sum())  # the low_rank-th value is above it that rarely
    high_rank = int((below < 1 - tail).sum()) + 1
    low = ordered[low_rank - 1] if low_rank else 0.0
    high = ordered[high_rank - 1] if high_rank <= num else math.inf
    return Interval(float(np.quantile(values, quantile)), low, high)
