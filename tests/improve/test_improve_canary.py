"""The rules of canary and rollback: when they act, when they wait, how often they are wrong."""

from __future__ import annotations

import math
import random

import pytest

from noria.evaluate.distance import mean_distance, overlap, text_vector
from noria.improve.canary import Arm, Decision, judge_again, judge_canary
from noria.improve.limits import Watched, crossed_again, crossed_limits
from noria.improve.sequential import share_bounds
from noria.recipe import RollbackSettings

NUM_CANARIES = 60
NUM_REQUESTS = 200


def canary(seed: int, live_share: float, tried_share: float) -> Decision:
    """A canary of a fifth of the requests, looked at after each request of its own."""
    draw = random.Random(seed)
    live, tried = [0, 0], [0, 0]
    while True:
        for _ in range(4):
            live[0] += 1
            live[1] += draw.random() < live_share
        tried[0] += 1
        tried[1] += draw.random() < tried_share
        decision = judge_canary(Arm(*live, 0, 0), Arm(*tried, 0, 0), NUM_REQUESTS)
        if decision.outcome != "wait":
            return decision


def test_a_canary_that_is_not_worse_is_rarely_withdrawn_though_looked_at_each_time() -> None:
    ends = [canary(seed, 0.1, 0.1).outcome for seed in range(NUM_CANARIES)]
    assert set(ends) == {"promote", "withdraw"} or set(ends) == {"promote"}
    assert ends.count("withdraw") <= 0.05 * NUM_CANARIES


def test_a_worse_canary_is_withdrawn_long_before_its_last_request() -> None:
    ends = [canary(seed, 0.02, 0.3) for seed in range(40)]
    assert {one.outcome for one in ends} == {"withdraw"}
    asked = sorted(one.numbers["tried"]["num_requests"] for one in ends)
    assert asked[len(asked) // 2] < NUM_REQUESTS / 4


def test_thumbs_down_alone_withdraw() -> None:
    decision = judge_canary(Arm(900, 0, 90, 9), Arm(100, 0, 20, 18), 500)
    assert decision.outcome == "withdraw" and decision.reason.startswith("thumbs down: at least")


def test_nothing_is_promoted_before_its_requests_and_judging_again_says_the_same() -> None:
    live = Arm(5_000, 50, 0, 0)
    for tried in (Arm(0, 0, 0, 0), Arm(499, 3, 0, 0), Arm(500, 3, 0, 0), Arm(60, 30, 0, 0)):
        decision = judge_canary(live, tried, 500)
        assert judge_again(decision.numbers) == decision
        assert (
            decision.outcome
            == {0: "wait", 499: "wait", 500: "promote", 60: "withdraw"}[tried.num_requests]
        )


@pytest.mark.parametrize(("count", "total"), [(0, 40), (40, 40), (3, 40), (700, 1000)])
def test_the_bounds_are_where_the_martingale_reaches_its_threshold(count: int, total: int) -> None:
    alpha = 0.05
    low, high = share_bounds(count, total, alpha)
    assert 0 <= low <= count / total <= high <= 1

    def log_martingale(p: float) -> float:
        def log_beta(a: float, b: float) -> float:
            return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

        mixed = log_beta(count + 0.5, total - count + 0.5) - log_beta(0.5, 0.5)
        return mixed - count * math.log(p) - (total - count) * math.log(1 - p)

    for end in (low, high):
        if 0 < end < 1:
            assert log_martingale(end) == pytest.approx(math.log(1 / alpha), abs=1e-6)
    assert share_bounds(0, 0, alpha) == (0.0, 1.0)


def test_the_sequence_holds_the_truth_at_every_look() -> None:
    missed = 0
    for seed in range(200):
        draw, count = random.Random(seed), 0
        for total in range(1, 201):
            count += draw.random() < 0.3
            if total % 4 == 0:
                low, high = share_bounds(count, total, 0.05)
                if not low <= 0.3 <= high:
                    missed += 1
                    break
    assert missed <= 10


LIMITS = RollbackSettings(requests=100, errors=0.1, thumbs_down=0.5, latency_s=2.0, distance=0.2)


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (Watched(Arm(100, 30, 0, 0), 1.0, 0.0), "errors"),
        (Watched(Arm(100, 0, 40, 36), 1.0, 0.0), "thumbs down"),
        (Watched(Arm(100, 0, 0, 0), 4.1, 0.0), "seconds"),
        (Watched(Arm(100, 0, 0, 0), 1.0, 0.3), "distance"),
        (Watched(Arm(99, 9, 40, 20), 9.0, 0.9), ""),  # too few for latency and distance
        (Watched(Arm(20, 3, 3, 3), 0.0, 0.0), ""),  # above a limit, but not surely
        (Watched(Arm(0, 0, 0, 0), 0.0, 0.0), ""),
    ],
)
def test_limits_are_crossed_when_they_surely_are(seen: Watched, said: str) -> None:
    found = crossed_limits(LIMITS, seen)
    assert [reason.split(":")[0].split(" of ")[0] for reason in found.reasons] == (
        [said] if said else []
    )
    assert crossed_again(found.numbers) == found


ENGLISH = [f"Where is my parcel number {n}? It should have come {n} days ago." for n in range(80)]
CHINESE = [f"我的包裹{n}在哪里？它应该在{n}天前到。" for n in range(80)]


def sums(texts: list[str]) -> tuple[list[float], int]:
    return sum(map(text_vector, texts)).tolist(), len(texts)  # type: ignore[union-attr]


def test_inputs_of_another_kind_are_far_and_of_the_same_kind_near() -> None:
    alike = mean_distance(*sums(ENGLISH[::2]), *sums(ENGLISH[1::2]))
    other = mean_distance(*sums(ENGLISH), *sums(CHINESE))
    mixed = mean_distance(*sums(ENGLISH), *sums(ENGLISH[:40] + CHINESE[:40]))
    assert alike < 0.01 < mixed < other <= 2
    assert mean_distance(*sums(ENGLISH[:1]), *sums(CHINESE)) == 0.0


def test_overlap_is_one_for_the_same_words_and_none_for_others() -> None:
    assert overlap("on its way", "on its way") == 1.0
    assert overlap("它在路上", "on its way") == 0.0
    assert 0.3 < overlap("on its way", "on its long way") < 1
    assert overlap("", "") == 1.0
