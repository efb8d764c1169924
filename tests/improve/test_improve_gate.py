from __future__ import annotations

import json
import math

import numpy as np
import pytest

from noria.errors import FormatError, UsageError
from noria.evaluate.metrics import Likelihoods
from noria.improve.gate import FAMILY_ALPHA, alpha_of_read, decide
from noria.improve.verdict import gate_section, verdict_from_json, verdict_to_json
from noria.recipe import GateSettings

SETTINGS = GateSettings()
NUM = {"corpus": 90, "feedback": 45}


def sides(seed: int, **shifts: tuple[float, float]) -> dict[str, dict[str, Likelihoods]]:
    """Champion, challenger, control: shifts in bits per byte of corpus and feedback, with noise."""
    random = np.random.default_rng(seed)
    found: dict[str, dict[str, Likelihoods]] = {}
    for set_number, (name, num) in enumerate(NUM.items()):
        num_bytes = random.integers(80, 900, size=num)
        shared = random.normal(2.0, 0.3, size=num)
        for side in ("champion", "challenger", "control"):
            own = random.normal(shifts.get(side, (0.0, 0.0))[set_number], 0.05, size=num)
            nll = num_bytes * (shared + own) * math.log(2)
            found.setdefault(side, {})[name] = Likelihoods(nll, num_bytes, int(num_bytes.sum()))
    return found


def test_gate_promotes_a_clearly_better_challenger() -> None:
    verdict = decide(SETTINGS, **sides(1, challenger=(0.0, -0.2)), reads_before=0, seed=1)
    assert verdict.promote
    assert all(one.passed for one in verdict.requirements)
    assert [one.passed for one in verdict.gains] == [False, True]
    assert verdict.reasons[0].startswith("feedback.bits_per_byte is better than the champion's")


def test_gate_refuses_a_worse_model() -> None:
    verdict = decide(SETTINGS, **sides(1, challenger=(0.1, 0.1)), reads_before=0, seed=1)
    assert not verdict.promote
    assert not any(one.passed for one in verdict.requirements)
    assert any("corpus.bits_per_byte <= champion" in reason for reason in verdict.reasons)


def test_gate_refuses_a_challenger_that_forgets_the_corpus_beyond_the_margin() -> None:
    verdict = decide(SETTINGS, **sides(2, challenger=(0.08, -0.3)), reads_before=0, seed=1)
    assert [one.passed for one in verdict.requirements] == [False, True, True]
    assert not verdict.promote


def test_gate_refuses_what_the_control_reached_without_feedback() -> None:
    both = sides(3, challenger=(0.0, -0.2), control=(0.0, -0.2))
    verdict = decide(SETTINGS, **both, reads_before=0, seed=1)
    assert [one.passed for one in verdict.requirements] == [True, True, False]
    assert any(one.passed for one in verdict.gains) and not verdict.promote


def test_gate_refuses_equal_weights_because_no_metric_is_better() -> None:
    same = sides(4)["champion"]
    only = GateSettings(require=("corpus.bits_per_byte <= champion",))
    verdict = decide(only, same, same, same, reads_before=0, seed=1)
    assert all(one.passed for one in verdict.requirements)
    assert not verdict.promote
    assert verdict.reasons == ("no metric is better than the champion's",)


def test_equal_models_are_promoted_in_less_than_five_of_a_hundred_reads() -> None:
    # Without a control requirement, so that only the budget stands in the way.
    settings = GateSettings(
        require=("corpus.bits_per_byte <= champion", "feedback.bits_per_byte <= champion"),
        margin=10.0,
    )
    promoted = [
        decide(settings, **sides(seed), reads_before=0, seed=seed, num_resamples=400).promote
        for seed in range(400)
    ]
    assert 0 < sum(promoted) < 0.05 * len(promoted)


def test_all_reads_of_a_set_together_spend_the_budget() -> None:
    spent = sum(alpha_of_read(number) for number in range(1, 20_000))
    assert spent < FAMILY_ALPHA
    assert spent == pytest.approx(FAMILY_ALPHA, rel=1e-3)


def test_each_further_read_asks_for_more() -> None:
    three = sides(5, challenger=(0.0, -0.05))
    first, tenth = (decide(SETTINGS, **three, reads_before=k, seed=1) for k in (0, 9))
    assert first.confidence < tenth.confidence
    assert first.spent_alpha == pytest.approx(100 * tenth.spent_alpha)
    for before, after in zip(first.requirements, tenth.requirements, strict=True):
        assert after.difference.high > before.difference.high
        assert after.smallest_visible > before.smallest_visible


def test_a_read_that_promotes_leaves_what_promoted_to_the_next() -> None:
    better, same = sides(5, challenger=(0.0, -0.2)), sides(5, challenger=(0.0, 0.0))
    first = decide(SETTINGS, **better, reads_before=0, seed=1)
    assert [one.passed for one in first.gains] == [False, True]
    assert first.promote and first.passed_on == alpha_of_read(1) / 2  # of feedback, not of corpus
    second = decide(SETTINGS, **same, reads_before=1, seed=1, passed_on=first.passed_on)
    assert second.spent_alpha == alpha_of_read(2) + alpha_of_read(1) / 2
    assert second.confidence < decide(SETTINGS, **same, reads_before=1, seed=1).confidence
    assert not second.promote and second.passed_on == 0.0
    stored = verdict_to_json(first)
    with pytest.raises(FormatError, match="contradicts"):
        verdict_from_json({**stored, "passed_on": 0.04})


def test_a_stored_verdict_is_read_back_and_replayed_to_the_same() -> None:
    three = sides(6, challenger=(0.0, -0.2))
    verdict = decide(SETTINGS, **three, reads_before=2, seed=7)
    stored = json.loads(json.dumps(verdict_to_json(verdict), allow_nan=False))
    assert verdict_from_json(stored) == verdict
    assert decide(SETTINGS, **three, reads_before=2, seed=7) == verdict
    changed = decide(SETTINGS, **sides(7, challenger=(0.0, -0.2)), reads_before=2, seed=7)
    assert changed.evidence != verdict.evidence


def test_a_verdict_on_one_record_is_refused_and_stored_without_infinities() -> None:
    one = {
        side: {name: Likelihoods(np.array([3.0 - n]), np.array([5]), 2) for name in NUM}
        for n, side in enumerate(("champion", "challenger", "control"))
    }
    verdict = decide(SETTINGS, **one, reads_before=0, seed=1)
    assert not verdict.promote
    stored = json.loads(json.dumps(verdict_to_json(verdict), allow_nan=False))
    assert verdict_from_json(stored) == verdict


def test_a_tampered_verdict_is_refused() -> None:
    verdict = decide(SETTINGS, **sides(1, challenger=(0.1, 0.1)), reads_before=0, seed=1)
    stored = json.loads(json.dumps(verdict_to_json(verdict)))
    with pytest.raises(FormatError, match="contradicts"):
        verdict_from_json({**stored, "promote": True})
    passed = [{**one, "passed": True} for one in stored["requirements"]]
    with pytest.raises(FormatError, match="contradicts"):
        verdict_from_json({**stored, "requirements": passed})
    with pytest.raises(FormatError, match="format 4"):
        verdict_from_json({**stored, "format": 5})
    of_before = {name: one for name, one in stored.items() if name != "passed_on"}
    assert verdict_from_json({**of_before, "format": 3}) == verdict
    with pytest.raises(FormatError, match="can't be read"):
        verdict_from_json({"format": 1, "promote": True})


def test_what_was_not_measured_is_named() -> None:
    three = sides(1)
    del three["control"]["feedback"]
    with pytest.raises(UsageError, match="control was not measured on 'feedback'"):
        decide(SETTINGS, **three, reads_before=0, seed=1)
    with pytest.raises(UsageError, match="gate requirement"):
        decide(GateSettings(require=("accuracy > 1",)), **sides(1), reads_before=0, seed=1)
    with pytest.raises(UsageError, match="without requirements"):
        decide(GateSettings(require=()), **sides(1), reads_before=0, seed=1)
    with pytest.raises(UsageError, match="reads_before"):
        decide(SETTINGS, **sides(1), reads_before=-1, seed=1)


def test_the_report_shows_the_verdict_that_was_reached() -> None:
    verdict = decide(SETTINGS, **sides(1, challenger=(0.0, -0.2)), reads_before=4, seed=1)
    section = gate_section(verdict)
    assert (section.decision, section.read_number) == ("promote", 5)
    assert [row.requirement for row in section.requirements] == list(SETTINGS.require)
    assert section.requirements[0].bound == SETTINGS.margin
    assert section.gains[1].difference == verdict.gains[1].difference
