"""Whether the time to a first token tells one tenant what another has asked: `make prove`.

One tenant asks a prompt; another asks either the same or a new one, and guesses which from the
time alone. The control is the same game within one tenant, where beginnings are shared.
"""

from __future__ import annotations

import time
from random import Random

import pytest
import torch

from noria.generate.batching import Engine
from noria.generate.loaded import LanguageModel
from noria.generate.sampling import Sampling
from noria.model.presets import preset
from noria.model.transformer import build_decoder
from noria.tokenizer.load import load_tokenizer
from noria.tokenizer.train import train_tokenizer

NUM_PROBES = 300
PROMPT_TOKENS = 256
FIRST = Sampling(temperature=0, max_tokens=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(["The wheel turns because the river turns it."] * 3, 300, folder, "plain")
    tokenizer = load_tokenizer(folder)
    decoder = build_decoder(preset("decoder-3m", tokenizer.vocab_size, 512), 1).eval()
    return LanguageModel(decoder, tokenizer, "probed")


def chance_of_a_right_guess(model: LanguageModel, asks: str) -> float:
    """How often a prompt that was asked before by "a" answers faster than one that was not."""
    chance, engine = Random(1), Engine(model)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(NUM_PROBES):
        prompts = [
            [chance.randrange(4, model.tokenizer.vocab_size) for _ in range(PROMPT_TOKENS)]
            for _ in range(2)
        ]
        list(engine.submit(model, prompts[0], FIRST, "a"))
        known = chance.random() < 0.5
        began = time.perf_counter()
        list(engine.submit(model, prompts[0 if known else 1], FIRST, asks))
        seconds[known].append(time.perf_counter() - began)
    engine.close()
    pairs = [(a < b) + (a == b) / 2 for a in seconds[True] for b in seconds[False]]
    return sum(pairs) / len(pairs)


def test_time_tells_nothing_across_tenants_and_much_within_one(model: LanguageModel) -> None:
    across, within = (chance_of_a_right_guess(model, tenant) for tenant in ("b", "a"))
    print(f"\nright guesses across tenants {across:.3f}, within one {within:.3f}")
    # the standard deviation of the Mann-Whitney statistic by chance is 0.033 for 300 probes
    assert abs(across - 0.5) < 0.1
    assert within > 0.95
