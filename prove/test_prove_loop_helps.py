"""The loop helps: two real tasks, five turns, three seeds, a test of 2,000 that no gate reads.

Requests to a home in English (42 intents) and opinions in Chinese. A champion on a fifth of the
rows; people ask the other four fifths in five parts and say what they think. Recovered is how much
of the distance to a model of all rows the live one has made good; the interval resamples the texts
of the test within each seed, and its lower end counts.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import mean

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from home_intents import home_requests
from opinions import chinese_opinions
from simulated_people import ALWAYS, ALWAYS_BUT_FALSE, SOMETIMES, Habits, Row
from task_worlds import Turned, make_world, turn_the_wheel

NUM_TURNS, SEEDS, NUM_TEST = 5, (1, 2, 3), 2_000
NUM_RESAMPLES = 2_000


def rows_of(task: str, seed: int) -> tuple[list[Row], int]:
    """All rows of a task, and how many of them the gate reads."""
    if task == "intent":
        return home_requests(NUM_TEST + 5_000 + 6_000, seed), 5_000
    return chinese_opinions(NUM_TEST + 5_000 + 4_000), 5_000


def recovered(turned: list[Turned]) -> tuple[float, float]:
    """The share of the distance that was made good, over all seeds, and its lower bound."""
    random = np.random.default_rng(1)
    sides = [
        np.array([one.before, one.after[-1], one.everything], dtype=np.float64) for one in turned
    ]
    draws = []
    for _ in range(NUM_RESAMPLES):
        picked = [side[:, random.integers(0, side.shape[1], side.shape[1])] for side in sides]
        draws.append(_ratio(picked))
    return _ratio(sides), float(np.quantile(draws, 0.025))


def _ratio(sides: list[np.ndarray]) -> float:
    before, after, most = (mean(float(side[row].mean()) for side in sides) for row in range(3))
    return (after - before) / (most - before)


@pytest.mark.parametrize(
    ("task", "habits", "least"),
    [
        ("intent", SOMETIMES, 0.5),
        ("opinion", SOMETIMES, 0.5),
        ("intent", ALWAYS, 0.8),
        ("opinion", ALWAYS, 0.8),
        ("intent", ALWAYS_BUT_FALSE, 0.8),
        ("opinion", ALWAYS_BUT_FALSE, 0.8),
    ],
    ids=["intent", "opinion", "intent-all", "opinion-all", "intent-false", "opinion-false"],
)
def test_five_turns_recover_the_distance(
    task: str, habits: Habits, least: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turned = []
    for seed in SEEDS:
        folder = tmp_path / str(seed)
        folder.mkdir()
        rows, num_held_out = rows_of(task, seed)
        world = make_world(folder, rows, NUM_TEST, num_held_out, seed)
        turned.append(turn_the_wheel(world, habits, NUM_TURNS))
    value, low = recovered(turned)
    with capsys.disabled():
        for seed, one in zip(SEEDS, turned, strict=True):
            path = " ".join(f"{np.mean(after):.3f}" for after in one.after)
            print(
                f"\n{task}, seed {seed}: {np.mean(one.before):.3f} | {path} | "
                f"{np.mean(one.everything):.3f}; "
                + ", ".join(str(outcome["decision"]) for outcome in one.outcomes)
            )
        print(f"{task}: {value:.0%} recovered, at least {low:.0%}")
    assert all(np.mean(one.everything) - np.mean(one.before) >= 0.04 for one in turned)
    assert low >= least
    assert all(_last_contribution(one) > 0 for one in turned)


def _last_contribution(turned: Turned) -> float:
    """Challenger minus control in the last turn that had enough feedback."""
    found = next(one["contribution"] for one in turned.outcomes[::-1] if "contribution" in one)
    assert isinstance(found, dict)
    return float(found["value"])
