"""Timings become medians and percentiles whose intervals hold the truth; memory is what is held."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch
from scipy.stats import binom

from noria.errors import UsageError
from noria.evaluate.speed import (
    MIN_ANSWERS,
    Timing,
    quantile_interval,
    speed_metrics,
    time_answers,
)
from noria.generate.loaded import LanguageModel, load_language_model
from noria.model.presets import preset
from noria.model.transformer import build_decoder
from noria.model.weights import save_model
from noria.tokenizer.train import train_tokenizer

TEXTS = ["The wheel turns because the river turns it.", "水车由河水推动。"] * 3


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("speed")
    facts = train_tokenizer(TEXTS, 320, folder, "plain")
    save_model(folder, build_decoder(preset("decoder-1m", facts["vocab_size"], 64), 1))
    return load_language_model(folder)


def test_answers_are_timed_within_their_time(model: LanguageModel) -> None:
    prompts = [model.tokenizer.encode(text) for text in TEXTS]
    began = time.perf_counter()
    found = time_answers(model, prompts, max_tokens=4, max_answers=12, budget_s=60)
    took_s = time.perf_counter() - began
    assert len(found) == 12
    assert 0 < sum(one.answer_s for one in found) < took_s
    assert all(0 < one.first_token_s <= one.answer_s for one in found)
    assert all(1 <= one.num_tokens <= 4 for one in found)
    assert len(time_answers(model, prompts, 4, 1000, budget_s=0)) == MIN_ANSWERS
    with pytest.raises(UsageError, match="no prompt"):
        time_answers(model, [], 4, 12, 1)


def test_metrics_are_those_of_the_timings() -> None:
    timings = [Timing(0.001 * i, 0.001 * i + 0.01 * (i % 3), 1 + i % 3) for i in range(1, 101)]
    found = {one.name: one for one in speed_metrics(timings)}
    assert found["first_token_s, median"].value.value == pytest.approx(0.0505)
    assert found["first_token_s, p95"].value.value == pytest.approx(0.09505)
    assert found["tokens_per_s, median"].value.value == pytest.approx(100.0)
    assert found["answer_s, p95"].value.high < math.inf  # 100 answers are enough for it
    assert found["peak_memory_bytes"].value.value > 50e6
    single = {one.name for one in speed_metrics([Timing(0.1, 0.1, 1)])}
    assert not any(name.startswith("tokens_per_s") for name in single)


@pytest.mark.parametrize("quantile", [0.5, 0.95])
@pytest.mark.parametrize("num", [MIN_ANSWERS, 30, 100])
def test_the_interval_of_a_quantile_holds_it_at_its_rate(quantile: float, num: int) -> None:
    truth, trials = -math.log(1 - quantile), 600
    draw = np.random.default_rng(num)
    hits = 0
    for _ in range(trials):
        found = quantile_interval(draw.exponential(size=num).tolist(), quantile)
        hits += found.low <= truth <= found.high
    assert binom.cdf(hits, trials, 0.95) > 0.001
    # the next closer pair of values would hold it too rarely: the interval is not wider than needed
    values = [float(one) for one in range(1, num + 1)]
    found = quantile_interval(values, quantile)
    if found.low:
        assert (
            binom.cdf(found.low - 1, num, quantile) <= 0.025 < binom.cdf(found.low, num, quantile)
        )
    if found.high < math.inf:
        assert binom.sf(found.high - 1, num, quantile) <= 0.025
        assert binom.sf(found.high - 2, num, quantile) > 0.025


def test_too_few_values_leave_an_end_open() -> None:
    found = quantile_interval([1.0, 2.0, 3.0, 4.0, 5.0], 0.95)
    assert found.high == math.inf
    assert quantile_interval([1.0], 0.5).low == 0.0
    with pytest.raises(UsageError, match="no values"):
        quantile_interval([], 0.5)
