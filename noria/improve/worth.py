"""Which answers are most worth a person's look.

In: interactions, what was said of them, and how new their words are. Out: the same, the most
rewarding first, each with the reasons.

Uncertainty is 1 minus the margin between the two likeliest labels (Scheffer et al. 2001; Settles
2009, section 3.1.2) where an answer tells its probabilities. Disagreement is the share of voices
that are not the commonest. Novelty is the distance from the original data. The rank is the product
of all three, each drawn from 0 to 1 up to `FLOOR` to 1, for what is zero in one may be worth a look
for the others.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noria.feedback.agreement import voter_of
from noria.feedback.interactions import Feedback, Interaction
from noria.improve.votes import Said
from noria.improve.wishes import WISH_KINDS, NoWish, Wishes, asked_text

FLOOR = 0.1
UNTOLD = 0.5  # of an answer that tells no probabilities
Novelty = Callable[[Sequence[str]], NDArray[np.float64]]


@dataclass(frozen=True)
class Worth:
    """An interaction, why a look at it pays, and how much compared with the others."""

    interaction: Interaction
    worth: float
    uncertainty: float
    disagreement: float
    novelty: float
    reasons: tuple[str, ...]

    @property
    def asked(self) -> str:
        """What a person wrote."""
        return asked_text(self.interaction)


def most_worth(
    interactions: Sequence[Interaction],
    said: Sequence[Said],
    wishes: Wishes,
    novelty: Novelty | None = None,
    limit: int = 50,
) -> list[Worth]:
    """The most rewarding questions first, each question once; ties in the order of their ids.

    `novelty` gives a number from 0 (known) to 1 for each text; without it nothing is new.
    """
    latest: dict[tuple[str, str], Interaction] = {}
    for one in interactions:
        if wishes.speaks_of(one):
            latest[one.kind, one.prompt] = one
    voices: dict[tuple[str, str], list[Said]] = defaultdict(list)
    for asked, one_said in said:
        voices[asked.kind, asked.prompt].append((asked, one_said))
    every = list(latest.values())
    texts = [asked_text(one) for one in every]
    new = novelty(texts) if novelty and every else np.zeros(len(every))
    found = [
        _worth(one, voices[one.kind, one.prompt], wishes, min(1.0, max(0.0, float(far))))
        for one, far in zip(every, new, strict=True)
    ]
    return sorted(found, key=lambda one: (-one.worth, one.interaction.id))[:limit]


def _worth(interaction: Interaction, said: Sequence[Said], wishes: Wishes, novelty: float) -> Worth:
    uncertainty, why_unsure = uncertainty_of(interaction)
    disagreement, why_torn = _disagreement(said, wishes)
    reasons = [why_unsure, why_torn, f"new words ({novelty:.2f})" if novelty >= 0.5 else ""]
    parts = (uncertainty, disagreement, novelty)
    product = float(np.prod([FLOOR + (1 - FLOOR) * part for part in parts]))
    return Worth(interaction, product, *parts, tuple(filter(None, reasons)))


def uncertainty_of(interaction: Interaction) -> tuple[float, str]:
    """From 0 to 1, and why in a few words; of an answer that tells no probabilities 0.5."""
    try:
        answer = json.loads(interaction.answer) if interaction.kind == "task" else {}
        likely = answer.get("probabilities") or {}
        first, second, *_ = [*sorted(map(float, likely.values()), reverse=True), 0.0, 0.0]
    except (ValueError, TypeError, AttributeError):
        return UNTOLD, ""
    if not likely:
        return UNTOLD, ""
    unsure = min(1.0, max(0.0, 1.0 - (first - second)))
    if answer.get("abstained"):
        return max(unsure, UNTOLD), "it abstained"
    return unsure, f"unsure ({first:.0%} and {second:.0%})" if unsure >= 0.5 else ""


def _disagreement(said: Sequence[Said], wishes: Wishes) -> tuple[float, str]:
    """The share of voices beside the commonest; a thumb down is a voice for another answer."""
    latest: dict[str, str] = {}
    for interaction, one in said:
        wanted = _voice(interaction, one, wishes)
        if wanted is not None:
            latest[voter_of(one)] = wanted
    if not latest:
        return 0.0, ""
    counts = Counter(latest.values())
    given = wishes.given(said[-1][0])
    if len(counts) == 1:
        (only,) = counts
        # All agree, but not with the model: half way.
        return (0.0, "") if only == given else (0.5, "people want another answer")
    share = 1.0 - max(counts.values()) / len(latest)
    return min(1.0, 2 * share), f"{len(latest)} people, {len(counts)} opinions"


def _voice(interaction: Interaction, said: Feedback, wishes: Wishes) -> str | None:
    if said.kind not in WISH_KINDS:
        return None
    if said.kind == "thumb" and said.value == "down":
        return ""
    try:
        return wishes.wanted(interaction, said)
    except NoWish:
        return None
