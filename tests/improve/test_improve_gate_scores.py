"""The gate over any metric: what it says of models of which it is known how good they are."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from gate_lives import (
    ACCURACY,
    BUDGET_ALONE,
    answers,
    changed,
    false_promotions,
    promoted_share,
    strict,
    verdict_on,
)

from noria.errors import FormatError, UsageError
from noria.evaluate.spans import SpanAnswers
from noria.improve.gate import decide
from noria.improve.verdict import (
    PROMOTE,
    REFUSE,
    UNDECIDED,
    Limited,
    verdict_from_json,
    verdict_lines,
    verdict_to_json,
)
from noria.recipe import GateSettings
from noria.records import Span


def pair(gain: float, num: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    champion = random.random(num) < ACCURACY
    return champion, changed(champion, gain, random)


def test_over_a_life_fewer_than_one_set_in_twenty_promotes_an_equal_model() -> None:
    assert false_promotions(num_lives=60, num_turns=4, num_records=300, gains=(0.0,)) <= 6


def test_a_better_model_wins_and_a_worse_one_is_refused() -> None:
    better, worse = verdict_on(*pair(0.06, 1500), 0), verdict_on(*pair(-0.06, 1500), 0)
    assert (better.decision, better.promote) == (PROMOTE, True)
    assert (worse.decision, worse.promote) == (REFUSE, False)
    assert promoted_share(20, 1500, 0.06, reads_before=2) >= 0.9


def test_too_few_records_are_not_enough_evidence_and_it_says_how_many_would_be() -> None:
    verdict = verdict_on(*pair(0.04, 200, seed=3), 0)
    assert verdict.decision == UNDECIDED and not verdict.promote
    (gain,) = verdict.gains
    assert gain.num_needed is not None and gain.num_needed > gain.num_records
    assert f"about {gain.num_needed:,} records would decide" in verdict.reasons[0]
    seen = gain.difference.value
    share = promoted_share(20, gain.num_needed, seen, reads_before=1)
    assert 0.6 <= share < 1.0  # 80% power, of twenty trials


def test_the_same_answers_are_refused_as_no_better() -> None:
    champion, _ = pair(0.0, 100)
    assert verdict_on(champion, champion, 0).decision == REFUSE


def test_what_the_control_has_too_is_not_the_feedbacks() -> None:
    champion, challenger = pair(0.06, 1500)
    sides = [{"intent": answers(one)} for one in (champion, challenger, challenger)]
    verdict = decide(strict(0.01), *sides, 0, 1, 300)
    assert not verdict.promote and any("> control" in one for one in verdict.reasons)


def test_a_slice_that_is_shown_to_be_worse_refuses_an_otherwise_better_model() -> None:
    champion, challenger = pair(0.1, 2000)
    few = np.arange(2000) % 8 == 0
    challenger = np.where(few, champion & (np.arange(2000) % 3 > 0), challenger)
    sides = [{"intent": answers(one)} for one in (champion, challenger, champion)]
    slices = {"intent.accuracy": {"language: zh": few, "language: en": ~few}}
    settings = replace(BUDGET_ALONE, score_margin=0.01)
    verdict = decide(settings, *sides, 0, 1, 300, slices=slices)
    assert [one.slice for one in verdict.slices if one.regressed] == ["language: zh"]
    assert verdict.decision == REFUSE
    assert "worse on language: zh" in verdict.reasons[0]
    assert decide(settings, *sides, 0, 1, 300).decision == PROMOTE


def test_held_out_feedback_can_refuse_but_earns_nothing() -> None:
    champion, challenger = pair(0.1, 1000)
    feedback = np.zeros(60, dtype=np.bool_)  # the champion was wrong, or nobody had said anything
    sides = [
        {"intent": answers(frozen), "intent.feedback": answers(heard)}
        for frozen, heard in ((champion, feedback), (champion, ~feedback), (champion, feedback))
    ]
    both = GateSettings(
        require=("intent.accuracy >= champion", "intent.feedback.accuracy >= champion")
    )
    verdict = decide(both, *sides, 0, 1, 300, earning=("intent",))
    assert [one.metric for one in verdict.gains] == ["intent.accuracy"] and not verdict.promote
    sides[1], sides[0] = (
        {"intent": answers(challenger), "intent.feedback": answers(feedback)},
        {"intent": answers(champion), "intent.feedback": answers(~feedback)},
    )
    whole = {"intent.feedback.accuracy": {"held-out feedback": np.ones(60, dtype=np.bool_)}}
    only = GateSettings(require=("intent.accuracy >= champion",))
    assert decide(only, *sides, 0, 1, 300, slices=whole).decision == REFUSE


def test_a_cost_above_its_limit_refuses() -> None:
    champion, challenger = pair(0.1, 1000)
    sides = [{"intent": answers(one)} for one in (champion, challenger, champion)]
    slow = Limited("latency", "s", 0.001, 0.0025, 2.0)
    verdict = decide(BUDGET_ALONE, *sides, 0, 1, 300, limits=(slow,))
    assert verdict.decision == REFUSE
    assert "latency is 2.50 times the champion's and may be 2 times" in verdict.reasons[-1]
    fast = replace(slow, challenger=0.0019)
    large = Limited("size of the weights", "bytes", 1.5e9, 7_740_000, 4.0)
    verdict = decide(BUDGET_ALONE, *sides, 0, 1, 300, limits=(fast, large))
    assert verdict.promote
    costs = [line for line in verdict_lines(verdict) if " times: " in line]
    assert costs == [
        "  latency: 1.9 ms, the champion 1 ms, at most 2 times: holds",
        "  size of the weights: 7.74 MB, the champion 1,500 MB, at most 4 times: holds",
    ]


def test_spans_are_judged_by_their_own_metric_and_higher_is_better() -> None:
    gold = tuple(frozenset({Span(0, 3, "person")}) for _ in range(200))
    nothing = tuple(frozenset[Span]() for _ in gold)
    half = tuple(one if n % 2 else frozenset[Span]() for n, one in enumerate(gold))
    sides = [{"names": SpanAnswers(gold, one)} for one in (half, gold, half)]
    settings = GateSettings(require=("names.micro_f1 > champion", "names.micro_f1 > control"))
    assert decide(settings, *sides, 0, 1, 300).promote
    sides[1] = {"names": SpanAnswers(gold, nothing)}
    assert decide(settings, *sides, 0, 1, 300).decision == REFUSE


def test_a_requirement_in_the_wrong_direction_or_on_no_metric_is_named() -> None:
    champion, challenger = pair(0.0, 50)
    with pytest.raises(UsageError, match="since higher is better"):
        settings = GateSettings(require=("intent.accuracy <= champion",))
        verdict_on(champion, challenger, 0, settings)
    with pytest.raises(UsageError, match="no metric 'acuracy'"):
        verdict_on(champion, challenger, 0, GateSettings(require=("intent.acuracy > champion",)))


def test_a_stored_verdict_keeps_its_slices_limits_and_needs() -> None:
    champion, challenger = pair(0.02, 200)
    sides = [{"intent": answers(one)} for one in (champion, challenger, champion)]
    mask = np.arange(200) < 100
    verdict = decide(
        BUDGET_ALONE,
        *sides,
        0,
        1,
        300,
        slices={"intent.accuracy": {"first": mask}},
        limits=(Limited("latency", "s", 1.0, 1.0, 2.0),),
    )
    stored = json.loads(json.dumps(verdict_to_json(verdict), allow_nan=False))
    assert verdict_from_json(stored) == verdict
    with pytest.raises(FormatError, match="contradicts"):
        verdict_from_json({**stored, "decision": PROMOTE})
    slices = [{**one, "regressed": not one["regressed"]} for one in stored["slices"]]
    with pytest.raises(FormatError, match="contradicts"):
        verdict_from_json({**stored, "slices": slices})
    assert verdict_lines(verdict)[0].startswith(f"{UNDECIDED}: ")


def test_a_verdict_of_the_first_format_is_still_read() -> None:
    stored = verdict_to_json(verdict_on(*pair(-0.06, 500), 0))
    old = {key: value for key, value in stored.items() if key not in ("slices", "limits")}
    old = {**old, "format": 1, "requirements": [], "gains": []}
    del old["decision"], old["passed_on"]
    less = {
        "requirement": "corpus.bits_per_byte <= champion",
        "metric": "corpus.bits_per_byte",
        "rival": "champion",
        "difference": {"value": 0.1, "low": 0.05, "high": 0.2},
        "bound": 0.03,
        "passed": False,
        "smallest_visible": None,
        "num_records": 9,
    }
    old = {**old, "requirements": [less], "gains": [less]}
    assert verdict_from_json(old).decision == REFUSE
