"""Lives of a frozen set in which it is known how good every challenger really is.

A life is a series of turns on one set: each challenger answers like the champion, but for some
answers that it gets right and some that it gets wrong instead. How often, decides how good it is on
all texts there could be; what the set shows of that is chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

from noria.evaluate.classes import Classified
from noria.improve.gate import decide
from noria.improve.verdict import Verdict
from noria.recipe import GateSettings

ACCURACY = 0.8  # of the first champion
CHANGED = 0.12  # share of the answers in which a challenger differs
# Nothing but the budget stands in the way: the margin is as wide as it can be.
BUDGET_ALONE = GateSettings(require=("intent.accuracy >= champion",), score_margin=1.0)
Right = NDArray[np.bool_]


def answers(right: Right) -> Classified:
    """Answers of two labels that are right where it says so."""
    gold = np.arange(len(right)) % 2
    said = np.where(right, gold, 1 - gold)
    return Classified(("a", "b"), gold.astype(np.int64), np.eye(2)[said] * 0.8 + 0.1)


def changed(right: Right, gain: float, random: np.random.Generator) -> Right:
    """Another model's answers, better by `gain` on all texts there could be."""
    better, worse = (CHANGED + gain) / 2, (CHANGED - gain) / 2
    draw = random.random(len(right))
    lost = right & (draw < worse / ACCURACY)
    won = ~right & (draw < better / (1 - ACCURACY))
    return (right & ~lost) | won


def verdict_on(
    champion: Right,
    challenger: Right,
    reads_before: int,
    settings: GateSettings = BUDGET_ALONE,
    seed: int = 1,
    num_resamples: int = 300,
    passed_on: float = 0.0,
) -> Verdict:
    """The gate's verdict on these answers; the control's are the champion's."""
    sides = [{"intent": answers(one)} for one in (champion, challenger, champion)]
    return decide(settings, *sides, reads_before, seed, num_resamples, passed_on=passed_on)


def false_promotions(
    num_lives: int,
    num_turns: int,
    num_records: int,
    gains: Sequence[float],
    num_resamples: int = 300,
) -> int:
    """In how many lives a challenger that is no better was promoted at least once.

    gains: of the challengers, one after the other and again from the first. One that is better and
    promoted leaves its share of the budget to the next read; it does not become the champion, so
    that it stays known how good the others are.
    """
    wrong = 0
    for life in range(num_lives):
        random = np.random.default_rng(life)
        champion = random.random(num_records) < ACCURACY
        passed_on = 0.0
        for turn, gain in zip(range(num_turns), cycle(gains), strict=False):
            challenger = changed(champion, gain, random)
            verdict = verdict_on(
                champion,
                challenger,
                turn,
                seed=life,
                num_resamples=num_resamples,
                passed_on=passed_on,
            )
            passed_on = verdict.passed_on
            if verdict.promote and gain <= 0:
                wrong += 1
                break
    return wrong


def promoted_share(num_trials: int, num_records: int, gain: float, reads_before: int) -> float:
    """How often a challenger that is better by `gain` is promoted."""
    yes = 0
    for trial in range(num_trials):
        random = np.random.default_rng(10_000 + trial)
        champion = random.random(num_records) < ACCURACY
        challenger = changed(champion, gain, random)
        yes += verdict_on(champion, challenger, reads_before, seed=trial).promote
    return yes / num_trials


def strict(margin: float) -> GateSettings:
    """A gate that also asks for no loss beyond a margin, and for more than the control has."""
    both = ("intent.accuracy >= champion", "intent.accuracy > control")
    return replace(BUDGET_ALONE, require=both, score_margin=margin)
