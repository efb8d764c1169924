"""The gate holds: with half of the votes wrong, over a hundred turns, no worse model goes live.

Worse is judged on a test that no gate reads: what is live after a turn against what was live before
it, with significance (McNemar, one-sided, and Bonferroni over the promotions of a life).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from random import Random

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from home_intents import home_requests
from simulated_people import HALF_WRONG, let_people_ask
from task_worlds import make_world, right_answers

from noria.errors import TrainingError
from noria.evaluate.exact import mcnemar
from noria.stages.improve_task import improve_task
from noria.stages.tasks import build_task

NUM_TURNS, NUM_TEST, EACH = 100, 2_000, 30
MOST_S = 20.0  # of a processor: the machine may have other things to do


def test_no_significantly_worse_model_goes_live_in_a_hundred_turns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = home_requests(NUM_TEST + 1_500 + 3_750, 9)
    world = make_world(tmp_path, rows, NUM_TEST, 1_500, seed=9)
    asked = list(world.asked)
    Random(3).shuffle(asked)
    promoted, num_empty, worse, slowest = 0, 0, [], 0.0
    with world.open() as workspace:
        build_task(workspace, "t")
        live = right_answers(workspace, world.test)
        first = sum(live) / NUM_TEST
        for turn in range(NUM_TURNS):
            let_people_ask(workspace, "t", asked[turn * EACH : (turn + 1) * EACH], HALF_WRONG, turn)
            began = time.process_time()
            try:
                outcome = improve_task(workspace, "t")
            except TrainingError:  # too little was said yet
                num_empty += 1
                continue
            slowest = max(slowest, time.process_time() - began)
            if not outcome["promoted"]:
                continue
            promoted += 1
            now = right_answers(workspace, world.test)
            lost = sum(a and not b for a, b in zip(live, now, strict=True))
            won = sum(b and not a for a, b in zip(live, now, strict=True))
            if lost > won and mcnemar(won, lost) / 2 < 0.05 / promoted:
                worse.append((turn, won, lost))
            live = now
    with capsys.disabled():
        print(
            f"\n{NUM_TURNS} turns, {num_empty} without enough feedback, {promoted} promotions, "
            f"{first:.3f} to {sum(live) / NUM_TEST:.3f}, "
            f"slowest turn {slowest:.1f} s of a processor, "
            f"worse: {worse}"
        )
    assert not worse
    assert num_empty <= 5
    assert sum(live) / NUM_TEST >= first - 0.01
    assert slowest <= MOST_S
