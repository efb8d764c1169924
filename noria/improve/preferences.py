"""Preferences and thumbs as DPO and KTO want them: answers to the same prompt, better or worse.

In: feedback of a language model with its interactions. Out: `Preference` records (a prompt, the
better answer, the worse one), and `Thumb` (a prompt, an answer, whether it was liked); what became
neither, with the reason. One person has one voice on a pair or an answer, and the last one counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from noria.feedback.agreement import voter_of
from noria.feedback.interactions import Feedback, Interaction
from noria.improve.instructions import instruction_in
from noria.improve.votes import LEFT, QUARANTINED, TAKEN, Decision, Said, ids_of
from noria.improve.wishes import asked_text, source_of
from noria.records import Content, Preference, Source, text_content


@dataclass(frozen=True)
class Thumb:
    """An answer and what most people thought of it: an example of KTO (Ethayarajh et al. 2024).

    `prompt` is as an interaction has it: a completion's text, or the JSON of a chat's messages.
    """

    kind: str
    prompt: str
    answer: str
    liked: bool
    source: Source


@dataclass
class Preferred:
    """What there is to prefer, and what was left."""

    preferences: list[Preference] = field(default_factory=list)
    thumbs: list[Thumb] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)


def gather_preferences(said: Sequence[Said], interactions: Sequence[Interaction]) -> Preferred:
    """Every pair and every answer on which most voices agree; language models only.

    `interactions`: those that a preference may name, for of the worse answer nothing else is said.
    """
    texts = [one for one in said if one[0].kind != "task"]
    asked = {one.id: one for one in (*interactions, *(one for one, _ in texts))}
    found = Preferred()
    _gather_thumbs(texts, found)
    _gather_pairs(texts, asked, found)
    return found


def _gather_thumbs(said: Sequence[Said], found: Preferred) -> None:
    voices: dict[str, dict[str, Said]] = defaultdict(dict)
    for interaction, one in said:
        if one.kind == "thumb":
            voices[interaction.id][voter_of(one)] = (interaction, one)
    for of_one in voices.values():
        up = sum(one.value == "up" for _, one in of_one.values())
        down = len(of_one) - up
        interaction, last = list(of_one.values())[-1]
        status, reason = LEFT, ""
        if up == down:
            reason = "as many thumbs up as down"
        elif not interaction.answer.strip():
            reason = "a thumb for an empty answer"
        else:
            status, reason = TAKEN, "most people like it" if up > down else "most people dislike it"
        found.decisions.append(
            _decision(
                interaction,
                last.id,
                status,
                reason,
                last.value,
                list(of_one.values()),
                max(up, down),
            )
        )
        if status == LEFT:
            continue
        found.thumbs.append(
            Thumb(
                interaction.kind,
                interaction.prompt,
                interaction.answer,
                up > down,
                source_of(interaction),
            )
        )


def _gather_pairs(said: Sequence[Said], asked: Mapping[str, Interaction], found: Preferred) -> None:
    pairs: dict[tuple[str, str], dict[str, tuple[Interaction, Interaction, Feedback]]]
    pairs = defaultdict(dict)
    for better, one in said:
        if one.kind != "preference":
            continue
        worse = asked.get(one.value)
        reason = _no_pair(better, worse)
        if worse is None or reason:
            found.decisions.append(
                _decision(better, one.id, LEFT, reason, one.value, [(better, one)])
            )
            continue
        first, second = sorted((better.id, worse.id))
        pairs[first, second][voter_of(one)] = (better, worse, one)
    for voices in pairs.values():
        said_of_pair = [(liked, one) for liked, _, one in voices.values()]
        better, worse, last = list(voices.values())[-1]
        num_for = sum(one[0].id == better.id for one in voices.values())
        if 2 * num_for < len(voices):
            better, worse = worse, better
        order = instruction_in(better.answer)
        status, reason, detail = TAKEN, "most people prefer it", worse.answer
        if 2 * num_for == len(voices):
            status, reason = LEFT, "as many prefer one answer as the other"
        elif order:
            status, reason, detail = QUARANTINED, "talks to a model or judge", order
        num_for = max(num_for, len(voices) - num_for)
        found.decisions.append(
            _decision(better, last.id, status, reason, detail, said_of_pair, num_for)
        )
        if status != TAKEN:
            continue
        found.preferences.append(
            Preference(
                _prompt(better),
                text_content(better.answer),
                text_content(worse.answer),
                source_of(better),
            )
        )


def _no_pair(better: Interaction, worse: Interaction | None) -> str:
    """Why two answers are no pair; "" if they are one."""
    if worse is None:
        return "the other answer is not there, or is of another model"
    if (better.kind, better.prompt) != (worse.kind, worse.prompt):
        return "two answers to different prompts"
    return "twice the same answer" if better.answer.strip() == worse.answer.strip() else ""


def _prompt(interaction: Interaction) -> Content:
    """The prompt as a record has it; of a chat of more than one message the messages as JSON."""
    single = interaction.kind == "chat" and len(interaction.messages) == 1
    return text_content(asked_text(interaction) if single else interaction.prompt)


def _decision(
    interaction: Interaction,
    feedback_id: str,
    status: str,
    reason: str,
    detail: str,
    said: Sequence[Said],
    num_for: int = 1,
) -> Decision:
    return Decision(
        feedback_id,
        interaction.id,
        status,
        reason,
        detail,
        asked_text(interaction),
        interaction.answer,
        num_for=num_for,
        num_against=len(said) - num_for,
        said=ids_of(said),
    )
