"""Feedback in; examples to learn from and to be judged on out, each taken or left for a reason.

In order: votes are counted, what the live model does right already is left, suspicious examples go
into quarantine until a person has seen them, caps are kept, and the rest is split. What a reviewer
decided stands above all of that.

The split depends on the prompt alone: what was once held out is never trained on, however much
feedback comes later. The order depends on the words alone, so the same feedback gives the same
challenger whatever the order in which it arrived.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from noria.feedback.interactions import Interaction
from noria.feedback.reviews import Review
from noria.improve.preferences import Preferred, Thumb, gather_preferences
from noria.improve.quarantine import Reference, find_alarms
from noria.improve.shares import above_cap
from noria.improve.votes import (
    LEFT,
    QUARANTINED,
    TAKEN,
    Decision,
    Example,
    Said,
    count_votes,
    decided,
)
from noria.improve.wishes import CuratedRecord, TextWishes, Wishes
from noria.records import Preference, record_texts, record_to_json

RIGHT_ALREADY = "the answer was right already"
NO_REFERENCE = Reference()


@dataclass(frozen=True)
class Curated:
    """What was taken, what was left, and why, example by example."""

    train: tuple[CuratedRecord, ...]
    held_out: tuple[CuratedRecord, ...]
    decisions: tuple[Decision, ...] = ()
    preferences: tuple[Preference, ...] = ()
    thumbs: tuple[Thumb, ...] = ()

    @property
    def left(self) -> dict[str, int]:
        """How much was left for which reason."""
        return self._counted(LEFT)

    @property
    def quarantined(self) -> dict[str, int]:
        """How much waits for a person, for which reason."""
        return self._counted(QUARANTINED)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the words, in order: the same feedback has the same digest."""
        parts = [[_words(record) for record in side] for side in (self.train, self.held_out)]
        return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()

    def facts(self) -> dict[str, Any]:
        """Counts for the report."""
        return {
            "num_train": len(self.train),
            "num_held_out": len(self.held_out),
            "num_preferences": len(self.preferences),
            "num_thumbs": len(self.thumbs),
            "left": self.left,
            "quarantined": self.quarantined,
            "digest": self.digest,
        }

    def _counted(self, status: str) -> dict[str, int]:
        return dict(Counter(one.reason for one in self.decisions if one.status == status))


def _words(record: CuratedRecord) -> Any:
    """What a record says, without where it comes from."""
    texts = record_texts(record)
    value = record_to_json(record)
    more = [value[name] for name in ("labels", "spans") if name in value]
    return [texts, *more] if more else texts


def curate(
    said: Sequence[Said],
    held_out_share: float,
    *,
    wishes: Wishes | None = None,
    reference: Reference = NO_REFERENCE,
    reviews: Mapping[str, Review] | None = None,
    interactions: Sequence[Interaction] = (),
) -> Curated:
    """Make examples of all that was said of one model; `wishes` says of what kind it is.

    reviews: the last decision about each feedback, by its id. interactions: all of the tenant,
    where there may be preferences. held_out_share: of the examples taken, for the gate.
    """
    wishes = wishes or TextWishes()
    own = [one for one in said if wishes.speaks_of(one[0])]
    counted = count_votes(own, wishes, reviews or {})
    decisions = list(counted.decisions)
    examples = _without_right_ones(counted.examples, wishes, reference, decisions)
    examples = _without_suspects(examples, own, reference, decisions)
    examples = _without_those_above_caps(examples, decisions)
    decisions += [_taken(one) for one in examples]
    train, held_out = _split(examples, held_out_share)
    preferred = (
        gather_preferences(own, interactions) if isinstance(wishes, TextWishes) else Preferred()
    )
    return Curated(
        train,
        held_out,
        _with_sides(decisions + preferred.decisions, own, interactions, held_out_share),
        tuple(preferred.preferences),
        tuple(preferred.thumbs),
    )


def _with_sides(
    decisions: Sequence[Decision],
    said: Sequence[Said],
    interactions: Sequence[Interaction],
    share: float,
) -> tuple[Decision, ...]:
    """Which of what was taken is held out."""
    prompts = {one.id: one.prompt for one in (*interactions, *(one for one, _ in said))}
    return tuple(
        replace(one, held_out=True)
        if one.status == TAKEN and is_held_out(prompts[one.interaction_id], share)
        else one
        for one in decisions
    )


def _is_taken_by_hand(example: Example) -> bool:
    return example.reviewed is not None  # what a reviewer left is no example


def _taken(example: Example) -> Decision:
    if example.reviewed is not None:
        return decided(example, TAKEN, "a reviewer took it", example.reviewed.actor)
    if example.num_against:
        return decided(example, TAKEN, "most people want it")
    keeps = example.confirmed
    return decided(example, TAKEN, "it keeps an answer right" if keeps else "it changes the answer")


def _without_right_ones(
    examples: Sequence[Example], wishes: Wishes, reference: Reference, decisions: list[Decision]
) -> list[Example]:
    """Leave what the live model answers as is wanted, unless it learned that from this example."""
    given = [wishes.given(one.interaction) for one in examples]
    if reference.given is not None and examples:
        given = list(reference.given([one.asked for one in examples]))
    kept = []
    for one, answer in zip(examples, given, strict=True):
        right = answer.strip() == one.wanted.strip()
        learned = one.interaction.id in reference.learned
        if right and not learned and not _is_taken_by_hand(one):
            decisions.append(decided(one, LEFT, RIGHT_ALREADY))
        else:
            kept.append(replace(one, confirmed=right))
    return kept


def _without_suspects(
    examples: Sequence[Example],
    said: Sequence[Said],
    reference: Reference,
    decisions: list[Decision],
) -> list[Example]:
    kept = []
    for one, alarm in zip(examples, find_alarms(examples, said, reference), strict=True):
        if alarm is None or _is_taken_by_hand(one):
            kept.append(one)
        else:
            decisions.append(decided(one, QUARANTINED, alarm.reason, alarm.detail))
    return kept


def _without_those_above_caps(
    examples: Sequence[Example], decisions: list[Decision]
) -> list[Example]:
    """An example counts for a person or key that alone wants it."""
    ids = [one.id for one in examples]
    by_hand = [_is_taken_by_hand(one) for one in examples]
    keys = [one.keys[0] if len(one.keys) == 1 else "" for one in examples]
    people = [one.voters[0] if len(one.voters) == 1 else "" for one in examples]
    people = ["" if who == key else who for who, key in zip(people, keys, strict=True)]
    over_person, over_key = above_cap(people, ids, by_hand), above_cap(keys, ids, by_hand)
    kept = []
    for one, person, key in zip(examples, over_person, over_key, strict=True):
        if person or key:
            whose = "person" if person else "key"
            reason = f"more than one {whose}'s share"
            decisions.append(decided(one, LEFT, reason, f"at most {person or key} of one {whose}"))
        else:
            kept.append(one)
    return kept


def _order_digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8")).hexdigest()


def is_held_out(prompt: str, share: float) -> bool:
    """Whether nothing trains on what was said of this prompt; only its words decide."""
    return int(_order_digest("held-out", prompt)[:12], 16) / 16**12 < share


def _split(
    examples: Sequence[Example], held_out_share: float
) -> tuple[tuple[CuratedRecord, ...], tuple[CuratedRecord, ...]]:
    sides: dict[bool, list[CuratedRecord]] = {True: [], False: []}
    ordered = sorted(examples, key=lambda one: _order_digest(one.interaction.prompt, one.wanted))
    for one in ordered:
        sides[is_held_out(one.interaction.prompt, held_out_share)].append(one.record)
    return tuple(sides[False]), tuple(sides[True])
