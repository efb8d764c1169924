"""A language model's challenger that is slower or larger than allowed is refused, and says why."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from noria.evaluate.metrics import Likelihoods
from noria.evaluate.speed import time_in_turn
from noria.generate.loaded import LanguageModel, load_language_model
from noria.improve.gate import decide
from noria.improve.verdict import PROMOTE, REFUSE, Limited
from noria.model.presets import preset
from noria.model.transformer import build_decoder
from noria.model.weights import save_model
from noria.recipe import GateSettings
from noria.stages.costs import cost_limits
from noria.stages.task_judging import SHORT_S, SMALL_BYTES, largest_growth, latencies
from noria.tokenizer.train import train_tokenizer

TEXTS = ["The wheel turns because the river turns it.", "水车由河水推动。"] * 3
LAYERS = 6  # times as many as the champion has
PLAIN = GateSettings(require=("corpus.bits_per_byte <= champion",))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[LanguageModel, LanguageModel]:
    torch.set_num_threads(1)
    found = []
    for times in (1, LAYERS):
        folder: Path = tmp_path_factory.mktemp(f"model-{times}")
        facts = train_tokenizer(TEXTS, 320, folder, "plain")
        config = preset("decoder-1m", facts["vocab_size"], 64)
        larger = replace(config, num_layers=config.num_layers * times)
        save_model(folder, build_decoder(larger, 1))
        found.append(load_language_model(folder))
    return found[0], found[1]


def limits(
    settings: GateSettings, models: tuple[LanguageModel, LanguageModel]
) -> tuple[Limited, ...]:
    prompts = [models[0].tokenizer.encode(text) for text in TEXTS]
    timings = time_in_turn(models, prompts, max_tokens=8, max_answers=8, budget_s=60)
    assert [len(one) for one in timings] == [8, 8]
    return cost_limits(settings, models, timings)


def verdict_with(costs: tuple[Limited, ...]) -> tuple[str, tuple[str, ...]]:
    random = np.random.default_rng(1)
    num_bytes = np.full(200, 100)
    better, worse = (
        {"corpus": Likelihoods(100 * random.normal(one, 0.05, 200), num_bytes, 200)}
        for one in (1.0, 1.5)
    )
    found = decide(PLAIN, worse, better, worse, 0, 1, limits=costs)
    return found.decision, found.reasons


def test_a_challenger_of_six_times_the_layers_is_too_slow_and_too_large(
    both: tuple[LanguageModel, LanguageModel],
) -> None:
    found = {one.what: one for one in limits(GateSettings(memory=2.0), both)}
    for what in ("time to the first token", "time for each further token", "size of the weights"):
        assert not found[what].passed, found[what]
        decision, reasons = verdict_with((found[what],))
        assert decision == REFUSE and reasons[-1].startswith(f"{what} is ")


def test_equal_weights_cost_the_same_and_no_limit_measures_nothing(
    both: tuple[LanguageModel, LanguageModel],
) -> None:
    same = limits(GateSettings(), (both[0], both[0]))
    assert len(same) == 3 and verdict_with(same)[0] == PROMOTE
    assert cost_limits(GateSettings(latency=0, memory=0), both, ((), ())) == ()


def test_an_application_may_grow_with_its_data_while_it_is_small() -> None:
    assert largest_growth(300e3, 4.0, SMALL_BYTES) * 300e3 == pytest.approx(64 * 2**20)
    for champion in (16 * 2**20, 500e6):
        assert largest_growth(champion, 4.0, SMALL_BYTES) == 4.0
    assert largest_growth(0.002, 2.0, SHORT_S) * 0.002 == pytest.approx(0.05)
    assert largest_growth(0.025, 2.0, SHORT_S) == largest_growth(1.0, 2.0, SHORT_S) == 2.0


def test_an_answer_that_waits_now_and_then_is_not_slow() -> None:
    class Waits:
        def __init__(self, every: int) -> None:
            self.every, self.num = every, 0

        def predict(self, texts: list[str]) -> list[str]:
            self.num += 1
            time.sleep(0.02 if self.num % self.every == 0 else 0.001)
            return texts

    texts = [str(number) for number in range(8)]
    usual, often, always = (latencies(Waits(10**9), Waits(n), texts)[1] for n in (10**9, 2, 1))
    assert usual < 0.006 and often < 0.006 < 0.015 < always
