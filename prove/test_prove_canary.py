"""How often a canary is withdrawn that is not worse, over a thousand of them, looked at each time.

The tests run sixty. Here at several shares of errors, and with how soon a worse one goes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "improve"))

from test_improve_canary import canary

NUM_CANARIES = 1_000


@pytest.mark.parametrize("share", [0.01, 0.1, 0.4])
def test_a_twentieth_at_most_of_the_canaries_that_are_not_worse_is_withdrawn(
    share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = sum(canary(seed, share, share).outcome == "withdraw" for seed in range(NUM_CANARIES))
    with capsys.disabled():
        print(f"\nwithdrawn though not worse, at {share:.0%} of errors: {wrong} of {NUM_CANARIES}")
    assert wrong <= 0.05 * NUM_CANARIES


@pytest.mark.parametrize(("live", "tried"), [(0.01, 0.1), (0.01, 0.3), (0.1, 0.3)])
def test_how_soon_a_worse_canary_goes(
    live: float, tried: float, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = [canary(seed, live, tried) for seed in range(200)]
    asked = sorted(one.numbers["tried"]["num_requests"] for one in ends)
    gone = sum(one.outcome == "withdraw" for one in ends)
    with capsys.disabled():
        print(f"\nerrors {live:.0%} and {tried:.0%}: {gone} of 200 withdrawn, half by {asked[100]}")
    assert gone >= 100
