"""Feedback for tests, as it lies in a store."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence

from noria.feedback.interactions import Feedback, Interaction, chat_prompt
from noria.feedback.reviews import Review
from noria.improve.votes import Said
from noria.improve.wishes import LabelWishes
from noria.records import Message, text_content

TASK = "desk.topic"
_numbers = itertools.count(1)


def asked(
    prompt: str,
    answer: str = "an answer",
    kind: str = "completion",
    model_name: str = "desk",
    at: float = 0.0,
) -> Interaction:
    """An interaction; a chat's prompt is its one message."""
    if kind == "chat":
        prompt = chat_prompt([Message("user", text_content(prompt))])
    number = next(_numbers)
    return Interaction(
        "acme", f"asked-{number:06}", model_name, "ab" * 32, kind, prompt, answer, at
    )


def asked_task(text: str, label: str, probability: float = 0.9) -> Interaction:
    """A request to an application, answered with a label."""
    answer = {"labels": [label], "abstained": False, "probabilities": {label: probability}}
    return asked(text, json.dumps(answer, ensure_ascii=False), "task", TASK)


def said(
    interaction: Interaction,
    value: str,
    kind: str = "correction",
    person: str = "",
    key: str = "",
    at: float = 0.0,
) -> Said:
    """What somebody said of it; ids and times go up unless a time is given."""
    number = next(_numbers)
    one = Feedback(
        "acme",
        f"fb-{number:06}",
        interaction.id,
        kind,
        value,
        "person",
        at or float(number),
        person,
        key,
    )
    return interaction, one


def review(said_one: Said, action: str, position: int = 1, actor: str = "Ada") -> Review:
    """A reviewer's decision about a feedback."""
    return Review("acme", position, said_one[1].id, action, actor, "", 0.0)


def wishes_of(labels: Sequence[str], many: bool = False) -> LabelWishes:
    """The application that these labels belong to."""
    return LabelWishes(TASK, tuple(labels), many)
