"""Three hundred random arrival patterns at the engine: `make prove`.

What a pattern is, and what each request is compared with: tests/generate/arrivals.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "generate"))

from arrivals import TOLERANCE, Tally, over, play, play_adapters, shapes, talker
from test_generate_seq2seq import translator

from noria.generate.loaded import LanguageModel
from noria.tokenizer.load import load_tokenizer
from noria.tokenizer.train import train_tokenizer

PATTERNS = 30  # a shape, with and without shared beginnings: 300 in all
TEXTS = ["The wheel turns because the river turns it; the river carries the water up."] * 3


@pytest.fixture(scope="module")
def like(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """A tokenizer; its model is not used."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(TEXTS, 340, folder, "plain")
    return LanguageModel(None, load_tokenizer(folder), "")  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", list(shapes(300)))
@pytest.mark.parametrize("shares", [True, False])
def test_three_hundred_patterns_change_no_answer(
    like: LanguageModel, shape: str, shares: bool
) -> None:
    tally = Tally()
    for seed in range(PATTERNS):
        numbers = "int8" if seed % 5 == 4 else None
        models = [talker(like, shape, 2 * seed + one, numbers) for one in (0, 1)]
        tally.add(play(models, 1000 + seed, shares=shares, num_requests=16))
    print(
        f"\n{shape}, shared {shares}: {tally.num_requests} requests, {tally.num_tokens} tokens, "
        f"{tally.num_shared} shared; {len(tally.near)} first differences with a margin below "
        f"{TOLERANCE} {[f'{one:.1e}' for one in tally.near]}, {len(tally.far)} above"
    )
    assert tally.far == []
    assert tally.num_tokens > 1000
    assert bool(tally.num_shared) == shares


@pytest.mark.parametrize("shape", ["llama", "relative", "window"])
@pytest.mark.parametrize("shares", [True, False])
def test_adapters_over_one_base_get_what_their_merged_weights_say(
    like: LanguageModel, shape: str, shares: bool
) -> None:
    tally = Tally()
    for seed in range(PATTERNS):
        base = talker(like, shape, seed, "int8" if seed % 5 == 4 else None)
        some = [over(base, 1), over(base, 2, ["query", "value"]), over(base, 3)]
        tally.add(play_adapters(base, some, 2000 + seed, shares=shares))
    print(
        f"\n{shape}, shared {shares}: {tally.num_requests} requests, {tally.num_tokens} tokens; "
        f"{len(tally.near)} first differences with a margin below {TOLERANCE} "
        f"{[f'{one:.1e}' for one in tally.near]}, {len(tally.far)} above"
    )
    assert tally.far == []
    assert tally.num_tokens > 1000


@pytest.mark.parametrize("shape", ["llama", "relative", "sinusoidal"])
@pytest.mark.parametrize("shares", [True, False])
def test_each_source_gets_the_target_that_it_gets_alone(
    like: LanguageModel, shape: str, shares: bool
) -> None:
    tally = Tally()
    for seed in range(PATTERNS):
        models = [translator(like, shape, 2 * seed + one, int8=seed % 5 == 4) for one in (0, 1)]
        tally.add(play(models, 3000 + seed, shares=shares, num_requests=16))
    print(
        f"\n{shape}, shared {shares}: {tally.num_requests} requests, {tally.num_tokens} tokens, "
        f"{tally.num_shared} shared; {len(tally.near)} first differences with a margin below "
        f"{TOLERANCE} {[f'{one:.1e}' for one in tally.near]}, {len(tally.far)} above"
    )
    assert tally.far == []
    assert tally.num_tokens > 1000
