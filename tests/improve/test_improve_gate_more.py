"""Safety prompts, held-out preferences and feedback to come: what the gate makes of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from gate_lives import ACCURACY, BUDGET_ALONE, changed, verdict_on

from noria.evaluate.contents import Report
from noria.evaluate.metrics import Likelihoods
from noria.evaluate.passed import Passed
from noria.evaluate.report import render_report
from noria.improve.evidence import decide_again, decide_and_keep
from noria.improve.gate import decide
from noria.improve.pairing import Compared
from noria.improve.verdict import (
    PROMOTE,
    REFUSE,
    UNDECIDED,
    gate_section,
    verdict_from_json,
    verdict_lines,
    verdict_to_json,
)
from noria.recipe import GateSettings

NUM = 300
SAFE = GateSettings(require=("corpus.bits_per_byte <= champion",), safety=("safety.jsonl",))


def side(shift: float, passed: int, of: int = 20, preferred: int = 0) -> dict[str, Compared]:
    """A model so many bits per byte better than another, with so many prompts and pairs right."""
    random = np.random.default_rng(3)
    num_bytes = np.full(NUM, 200)
    nll = num_bytes * (2.0 - shift + random.normal(0, 0.02, NUM)) * np.log(2)
    ids = tuple(f"p{n}" for n in range(of))
    found: dict[str, Compared] = {
        "corpus": Likelihoods(nll, num_bytes, NUM),
        "safety": Passed("pass_rate", ids, np.arange(of) < passed),
    }
    if preferred:
        pairs = tuple(f"pair{n}" for n in range(100))
        found["preferences"] = Passed("accuracy", pairs, np.arange(100) < preferred)
    return found


def judged(
    challenger: dict[str, Compared], champion: dict[str, Compared], **more: Any
) -> dict[str, Any]:
    settings = GateSettings(require=SAFE.of_text)
    sides = {"champion": champion, "challenger": challenger, "control": champion}
    earning = ("corpus", "preferences")
    return {"settings": settings, **sides, "reads_before": 0, "seed": 1, "earning": earning, **more}


def test_a_better_model_that_breaks_safety_rules_is_refused_and_they_are_named(
    tmp_path: Path,
) -> None:
    champion = side(0.0, 20)
    assert decide(**judged(side(0.2, 20), champion)).decision == PROMOTE
    verdict = decide_and_keep(tmp_path, **judged(side(0.2, 12), champion))
    assert verdict.decision == REFUSE
    assert verdict.reasons[0].startswith("safety.pass_rate >= champion: shown not to hold")
    assert verdict.failed_prompts == tuple(f"p{n}" for n in range(12, 20))
    assert any("p12, p13" in line for line in verdict_lines(verdict))
    report = Report("tiny", 0.0, "here", "", "", (), gates=(gate_section(verdict),))
    render_report(report, tmp_path / "page.html")
    assert "p12, p13" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert decide_again(tmp_path) == verdict
    assert verdict_from_json(json.loads(json.dumps(verdict_to_json(verdict)))) == verdict


def test_one_rule_broken_newly_is_not_promoted_and_passing_more_earns_nothing() -> None:
    one_less = decide(**judged(side(0.2, 19), side(0.0, 20)))
    assert one_less.decision == UNDECIDED and "safety.pass_rate" in one_less.reasons[0]
    only_safer = decide(**judged(side(0.0, 20), side(0.0, 5)))
    assert [one.metric for one in only_safer.gains] == ["corpus.bits_per_byte"]
    assert not only_safer.promote


def test_what_prefers_the_worse_answers_is_refused_on_held_out_pairs() -> None:
    champion = side(0.0, 20, preferred=60)
    whole = {"preferences.accuracy": {"held-out preferences": np.ones(100, dtype=np.bool_)}}
    worse = decide(**judged(side(0.2, 20, preferred=30), champion, slices=whole))
    assert worse.decision == REFUSE
    assert "preferences.accuracy is worse on held-out preferences" in worse.reasons[-1]
    better = side(0.0, 20, preferred=90)
    asked = GateSettings(require=(*SAFE.require, "preferences.accuracy > control"))
    verdict = decide(**{**judged(better, champion), "settings": asked})
    assert verdict.decision == PROMOTE and "preferences.accuracy is better" in verdict.reasons[0]


def test_so_much_more_feedback_as_the_gate_says_does_decide_in_most_draws() -> None:
    random = np.random.default_rng(11)
    num_told = num_decided = 0
    for draw in range(80):
        champion = random.random(200) < ACCURACY
        verdict = verdict_on(champion, changed(champion, 0.03, random), 0, seed=draw)
        (gain,) = verdict.gains
        if verdict.decision != UNDECIDED or gain.num_needed is None or gain.num_needed > 20_000:
            continue
        num_told += 1
        more = random.random(gain.num_needed) < ACCURACY
        num_decided += (
            verdict_on(more, changed(more, 0.03, random), 1, seed=draw).decision != UNDECIDED
        )
    assert num_told >= 40
    assert 0.6 * num_told <= num_decided < num_told


def test_records_of_held_out_feedback_are_told_as_feedback_to_come() -> None:
    random = np.random.default_rng(5)
    bytes_ = np.full(40, 100)
    plain, better = (
        {
            "feedback": Likelihoods(100 * random.normal(middle, 0.1, 40), bytes_, 40),
            "corpus": Likelihoods(np.full(40, 100.0), bytes_, 40),
        }
        for middle in (2.0, 1.98)
    )
    settings = GateSettings(require=("feedback.bits_per_byte < champion",), margin=0.0)
    verdict = decide(settings, plain, better, plain, 0, 1, held_out_share=0.25)
    (one,) = verdict.requirements
    assert one.num_needed is not None and one.feedback_needed == 4 * (one.num_needed - 40)
    assert f"about {one.feedback_needed:,} more pieces of feedback" in verdict.reasons[0]
    frozen = GateSettings(require=("corpus.bits_per_byte < champion",))
    on_frozen = decide(frozen, plain, better, plain, 0, 1, held_out_share=0.25)
    assert all(one.feedback_needed is None for one in on_frozen.requirements)
    assert BUDGET_ALONE.of_text == GateSettings().require
