"""What a language model is to learn from feedback, by kind: texts, pairs of answers, thumbs.

In: what was curated, and the interactions that it speaks of. Out: what each method trains on:
corrections are texts to write (supervised), preferences are pairs (DPO), thumbs are answers that
were liked or not (KTO). What was said of a prompt that is held out for the gate teaches nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from noria.artifacts import value_digest
from noria.feedback.interactions import Interaction
from noria.improve.curate import Curated, is_held_out
from noria.improve.wishes import source_of
from noria.records import (
    Conversation,
    Message,
    Pair,
    Preference,
    Record,
    content_text,
    record_to_json,
    text_content,
)
from noria.train.judged import Answered, Thumbed

AnsweredPair = tuple[Answered, Answered]


@dataclass(frozen=True)
class Heard:
    """Texts to write; pairs, the better answer first; answers with what was thought of them."""

    texts: tuple[Record, ...] = ()
    pairs: tuple[AnsweredPair, ...] = ()
    thumbs: tuple[Thumbed, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what pairs and thumbs say; "" without any."""
        if not self.pairs and not self.thumbs:
            return ""
        pairs = [[_said(one) for one in both] for both in self.pairs]
        thumbs = [[_said(one.answer), _said(one.mismatched), one.liked] for one in self.thumbs]
        return value_digest([pairs, thumbs])


NOTHING = Heard()


def heard_of(curated: Curated, asked: Iterable[Interaction], held_out_share: float) -> Heard:
    """What curated feedback teaches; `asked`: the interactions that it speaks of."""
    by_id = {one.id: one for one in asked}

    def taught(interaction_id: str) -> bool:
        one = by_id.get(interaction_id)
        return one is not None and not is_held_out(one.prompt, held_out_share)

    pairs = [_pair(one, by_id) for one in curated.preferences if taught(one.source.interaction)]
    given = [
        (by_id[one.source.interaction], one.answer, one.liked)
        for one in curated.thumbs
        if taught(one.source.interaction)
    ]
    return Heard(tuple(curated.train), tuple(pairs), _thumbs(given))


def held_out_pairs(
    curated: Curated, asked: Iterable[Interaction], held_out_share: float
) -> tuple[AnsweredPair, ...]:
    """The pairs that nothing trains on, the better answer first.

    A liked and a disliked answer to the same prompt are a pair too, each in one pair at most.
    """
    by_id = {one.id: one for one in asked}

    def is_kept(interaction_id: str) -> bool:
        one = by_id.get(interaction_id)
        return one is not None and is_held_out(one.prompt, held_out_share)

    pairs = [_pair(one, by_id) for one in curated.preferences if is_kept(one.source.interaction)]
    sides: dict[tuple[str, str], dict[bool, list[Answered]]] = {}
    for thumb in curated.thumbs:
        if is_kept(thumb.source.interaction):
            about = by_id[thumb.source.interaction]
            of_prompt = sides.setdefault((about.kind, about.prompt), {True: [], False: []})
            of_prompt[thumb.liked].append(answered(about, thumb.answer))
    for of_prompt in sides.values():
        pairs += zip(of_prompt[True], of_prompt[False], strict=False)
    return tuple(dict.fromkeys(pairs))


def _pair(one: Preference, by_id: Mapping[str, Interaction]) -> AnsweredPair:
    about = by_id[one.source.interaction]
    better, worse = (answered(about, content_text(two)) for two in (one.chosen, one.rejected))
    return better, worse


def answered(interaction: Interaction, answer: str) -> Answered:
    """An interaction with an answer, as a record that ends with it."""
    if interaction.kind == "chat":
        last = Message("assistant", text_content(answer))
        return Conversation((*interaction.messages, last), source_of(interaction))
    return Pair(text_content(interaction.prompt), text_content(answer), source_of(interaction))


def _thumbs(given: list[tuple[Interaction, str, bool]]) -> tuple[Thumbed, ...]:
    """Each with the answer of the next one to its own prompt, as KTO's divergence is estimated."""
    if len({answer for _, answer, _ in given}) < 2:
        return ()
    found = []
    for place, (interaction, answer, liked) in enumerate(given):
        others = (given[(place + step) % len(given)][1] for step in range(1, len(given)))
        other = next(one for one in others if one != answer)
        found.append(Thumbed(answered(interaction, answer), answered(interaction, other), liked))
    return tuple(found)


def _said(record: Answered) -> str:
    return json.dumps(record_to_json(record), ensure_ascii=False, sort_keys=True)
