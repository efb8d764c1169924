"""How far several people's votes on the same answers agree, beyond what chance would bring.

In: votes by unit (an interaction), any number a unit. Out: Krippendorff's alpha for nominal values
with a bootstrap interval. This module knows no database.

alpha = 1 - D_o / D_e: the disagreement that is seen over the disagreement that pairing all votes
with all others would give. 1: all agree; 0: no better than chance; below: worse. Units with one
vote say nothing (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", sections A to C).
The interval is the percentile bootstrap over units, as Zapf et al. (2016, BMC Medical Research
Methodology 16:93) recommend for it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from noria.feedback.interactions import Feedback, Interaction

NUM_RESAMPLES = 1_000
CONFIDENCE = 0.95
THUMBS, ANSWERS = "thumbs", "answers"  # what people can agree about
_SUBJECTS = {"thumb": THUMBS, "label": ANSWERS, "correction": ANSWERS}


@dataclass(frozen=True)
class Agreement:
    """Krippendorff's alpha with its interval, and what it rests on.

    `alpha` is None where it is not defined: fewer than two units with two votes, or all votes the
    same, so that nobody could have disagreed.
    """

    alpha: float | None
    low: float | None
    high: float | None
    num_units: int
    num_votes: int

    def says(self) -> str:
        """The finding in a few words."""
        rests = f"{self.num_votes:,} votes on {self.num_units:,} answers"
        if self.alpha is None:
            return f"not defined for {rests}"
        between = "" if self.low is None else f" ({self.low:.2f} to {self.high:.2f})"
        return f"alpha {self.alpha:.2f}{between}, {rests}"


def voter_of(said: Feedback) -> str:
    """Who votes: the person, else the key, else nobody in particular."""
    return said.person or said.key_id


def agreements(said: Sequence[tuple[Interaction, Feedback]]) -> dict[str, Agreement]:
    """How far people agree about thumbs, and about what an answer should have been.

    Of one voter the last vote on an interaction counts; votes of nobody in particular are left out,
    for nothing tells whether one or several gave them.
    """
    units: dict[str, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for _, one in said:  # as stored: a clock may have jumped
        subject = _SUBJECTS.get(one.kind)
        if subject and voter_of(one):
            units[subject][one.interaction_id][voter_of(one)] = one.value.strip()
    return {
        subject: measure_agreement([list(votes.values()) for votes in units[subject].values()])
        for subject in (THUMBS, ANSWERS)
    }


def measure_agreement(
    units: Sequence[Sequence[Hashable]], num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> Agreement:
    """Alpha of votes by unit, with its 95% interval."""
    paired = [list(unit) for unit in units if len(unit) > 1]
    numbers: dict[Hashable, int] = {}
    for unit in paired:
        for vote in unit:
            numbers.setdefault(vote, len(numbers))
    values = np.array([numbers[vote] for unit in paired for vote in unit], dtype=np.int64)
    unit_of = np.repeat(np.arange(len(paired)), [len(unit) for unit in paired])
    sizes = np.array([len(unit) for unit in paired], dtype=np.float64)
    apart = np.array([_apart(unit) for unit in paired], dtype=np.float64)

    def alpha(weights: np.ndarray) -> float | None:
        num_votes = float(sizes @ weights)
        counts = np.bincount(values, weights=weights[unit_of], minlength=1)
        expected = num_votes**2 - float(counts @ counts)
        if expected <= 0.0:
            return None
        return 1.0 - (num_votes - 1.0) * float(apart @ weights) / expected

    if len(paired) < 2:
        return Agreement(None, None, None, len(paired), len(values))
    found = alpha(np.ones(len(paired)))
    drawn: list[float] = []
    if found is not None:
        random = np.random.default_rng(seed)
        even = np.full(len(paired), 1.0 / len(paired))
        for _ in range(num_resamples):
            one = alpha(random.multinomial(len(paired), even).astype(np.float64))
            if one is not None:  # a draw in which nobody could have disagreed says nothing
                drawn.append(one)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(drawn, [tail, 100 - tail]) if drawn else (None, None)
    return Agreement(
        found,
        None if low is None else float(low),
        None if high is None else float(high),
        len(paired),
        len(values),
    )


def _apart(unit: Sequence[Hashable]) -> float:
    """The ordered pairs of a unit's votes that differ, each over the votes beside it."""
    same = sum(count * count for count in Counter(unit).values())
    return (len(unit) ** 2 - same) / (len(unit) - 1)
