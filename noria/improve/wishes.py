"""What a person wants an answer to be, in one form in which two persons' wishes can be compared.

In: an interaction and what was said of it. Out: the wanted answer as text, the answer that was
given in the same form, and the record that a wish becomes. One `Wishes` for each kind of model: a
language model's are texts, those of applications labels or spans. This module counts no votes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from noria.feedback.interactions import Feedback, Interaction
from noria.records import (
    Conversation,
    Labelled,
    Message,
    Pair,
    Source,
    Span,
    Tagged,
    text_content,
)

WISH_KINDS = ("correction", "label", "thumb")  # those that may say what an answer should have been
CuratedRecord = Pair | Conversation | Labelled | Tagged


class NoWish(Exception):
    """What was said names no answer; `reason` says why, without repeating it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Wishes(Protocol):
    """How one kind of model's answers are read."""

    def given(self, interaction: Interaction) -> str:
        """The answer that was given, in the common form; "" if it has none."""
        ...

    def wanted(self, interaction: Interaction, said: Feedback) -> str:
        """The answer that should have been given, in the common form. Raises NoWish."""
        ...

    def record(self, interaction: Interaction, wanted: str) -> CuratedRecord:
        """The example that a wish becomes."""
        ...

    def speaks_of(self, interaction: Interaction) -> bool:
        """Whether the interaction is with this kind of model at all."""
        ...


def source_of(interaction: Interaction) -> Source:
    """Where an example of feedback comes from."""
    return Source(file="feedback", interaction=interaction.id)


def asked_text(interaction: Interaction) -> str:
    """What a person wrote: a prompt, a text, or the last message of a chat."""
    if interaction.kind != "chat":
        return interaction.prompt
    turns = json.loads(interaction.prompt)
    return str(turns[-1]["content"]) if turns else ""


@dataclass(frozen=True)
class TextWishes:
    """Of a language model: a correction is the text that it should have written."""

    def speaks_of(self, interaction: Interaction) -> bool:
        """Chats and completions."""
        return interaction.kind != "task"

    def given(self, interaction: Interaction) -> str:
        """The text of the answer."""
        return interaction.answer.strip()

    def wanted(self, interaction: Interaction, said: Feedback) -> str:
        """The correction; what a thumb up was given to. A label of a text names no other text."""
        if said.kind == "thumb" and said.value == "up":
            return self.given(interaction)
        if said.kind != "correction":
            raise NoWish("says that it was wrong, not what would be right")
        if not said.value.strip():
            raise NoWish("empty")
        return said.value

    def record(self, interaction: Interaction, wanted: str) -> Pair | Conversation:
        """A conversation that ends with the wanted answer, or a prompt and how it goes on."""
        source = source_of(interaction)
        if interaction.kind == "chat":
            answer = Message("assistant", text_content(wanted))
            return Conversation((*interaction.messages, answer), source)
        return Pair(text_content(interaction.prompt), text_content(wanted), source)


@dataclass(frozen=True)
class LabelWishes:
    """Of an application that classifies: the labels that a text should have had.

    A wish is a label, or a JSON list of labels. `labels` are those that the application knows,
    `many` whether a text may have any number of them; `model_name` is the application's.
    """

    model_name: str
    labels: tuple[str, ...]
    many: bool = False
    out_of_scope: str = ""

    def speaks_of(self, interaction: Interaction) -> bool:
        """Requests to this application."""
        return interaction.kind == "task" and interaction.model_name == self.model_name

    def given(self, interaction: Interaction) -> str:
        """The labels of the answer, sorted, as JSON; none where it abstained."""
        return self.of_answer(_object(interaction.answer))

    def of_answer(self, answer: dict[str, Any]) -> str:
        """Likewise, of an answer's JSON."""
        labels = [str(one) for one in answer.get("labels", ())]
        if not labels and self.out_of_scope:
            labels = [self.out_of_scope]
        return _listed(labels)

    def wanted(self, interaction: Interaction, said: Feedback) -> str:
        """The labels, sorted, as JSON."""
        if said.kind == "thumb":
            if said.value != "up":
                raise NoWish("says that it was wrong, not what would be right")
            labels = json.loads(self.given(interaction))
        else:
            labels = self._named(said.value.strip())
        known = {*self.labels, self.out_of_scope} - {""}
        if not labels:
            raise NoWish("no label")
        if len(labels) > 1 and not self.many:
            raise NoWish("several labels, where a text has one")
        if not set(labels) <= known:
            raise NoWish("a label that the application does not have")
        return _listed(labels)

    def _named(self, value: str) -> list[str]:
        if value in self.labels or not value.startswith(("[", "{")):
            return [value] if value else []
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            return [value]
        labels = found.get("labels") if isinstance(found, dict) else found
        if not isinstance(labels, list) or not all(isinstance(one, str) for one in labels):
            raise NoWish("JSON that is no list of labels")
        return labels

    def record(self, interaction: Interaction, wanted: str) -> Labelled:
        """The text with its labels."""
        labels = tuple(json.loads(wanted))
        return Labelled(text_content(interaction.prompt), labels, source_of(interaction))


@dataclass(frozen=True)
class SpanWishes:
    """Of an application that tags: the spans that a text should have had, as JSON.

    A wish is `[{"start": …, "end": …, "tag": …}, …]`, or an object with that list as `spans`.
    """

    model_name: str
    tags: tuple[str, ...]

    def speaks_of(self, interaction: Interaction) -> bool:
        """Requests to this application."""
        return interaction.kind == "task" and interaction.model_name == self.model_name

    def given(self, interaction: Interaction) -> str:
        """The spans of the answer, in order, as JSON."""
        return self.of_answer(_object(interaction.answer))

    def of_answer(self, answer: dict[str, Any]) -> str:
        """Likewise, of an answer's JSON."""
        return _spans_text([_span(one) for one in answer.get("spans", ())])

    def wanted(self, interaction: Interaction, said: Feedback) -> str:
        """The spans, in order, as JSON."""
        if said.kind == "thumb":
            if said.value != "up":
                raise NoWish("says that it was wrong, not what would be right")
            return self.given(interaction)
        try:
            found = json.loads(said.value)
            rows = found["spans"] if isinstance(found, dict) else found
            spans = sorted((_span(one) for one in rows), key=lambda one: one.start)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise NoWish("no JSON list of spans with start, end and tag") from error
        end = 0
        for one in spans:
            if not end <= one.start < one.end <= len(interaction.prompt):
                raise NoWish("spans that overlap or leave the text")
            if one.tag not in self.tags:
                raise NoWish("a tag that the application does not have")
            end = one.end
        return _spans_text(spans)

    def record(self, interaction: Interaction, wanted: str) -> Tagged:
        """The text with its spans."""
        spans = tuple(_span(one) for one in json.loads(wanted))
        return Tagged(text_content(interaction.prompt), spans, source_of(interaction))


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _listed(labels: Sequence[str]) -> str:
    return json.dumps(sorted(set(labels)), ensure_ascii=False)


def _span(value: Any) -> Span:
    start, end = value["start"], value["end"]
    if not (type(start) is int and type(end) is int):
        raise TypeError("places that are no numbers")
    return Span(start, end, str(value["tag"]))


def _spans_text(spans: Sequence[Span]) -> str:
    rows = [{"start": one.start, "end": one.end, "tag": one.tag} for one in spans]
    return json.dumps(rows, ensure_ascii=False)
