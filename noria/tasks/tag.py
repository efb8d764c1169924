"""Tag: a text in; the spans in it that have a tag out, with exact places in the text as it came.

Named entities, slots, anything that BIO tags can say, in any script. This module does not know how
a part came about.
Legend: T tokens, N tags.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from jaxtyping import Float64

from noria.baselines.interface import TokenScorer
from noria.records import Span
from noria.tasks.bio import OUTSIDE, best_tags, spans_of
from noria.tasks.calibration import LEAST_PROBABILITY, joined
from noria.tasks.declaration import Task, require_texts
from noria.tasks.words import Token, passages, tokens_of

TAG = Task(
    kind="tag",
    head="token",
    objectives=("one_class", "one_class"),
    metrics=("micro_f1", "micro_f1"),
    nouns="tags",
)
BATCH_PASSAGES = 64  # that are read at once: a megabyte of text is thousands of them


@dataclass(frozen=True)
class FoundSpan:
    """Characters [start, end) of the text, their tag, and what stands there."""

    start: int
    end: int
    tag: str
    text: str


@dataclass(frozen=True)
class Spans:
    """The answer to one text: its spans in order, none of which overlap."""

    spans: tuple[FoundSpan, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        rows = [
            {"start": one.start, "end": one.end, "tag": one.tag, "text": one.text}
            for one in self.spans
        ]
        return {"spans": rows}

    def as_text(self) -> str:
        """A line for each span."""
        lines = [f"{one.start}–{one.end}\t{one.tag}\t{one.text}" for one in self.spans]
        return "\n".join(lines) or "(nothing found)"


@dataclass(frozen=True)
class Passage:
    """Neighbouring tokens of a text that are read at once."""

    tokens: tuple[Token, ...]

    @property
    def words(self) -> list[str]:
        """What the tokens say."""
        return [one.text for one in self.tokens]


def passages_of(text: str) -> list[Passage]:
    """A text as it is read: lines, and of a long line its sentences; none of a text of spaces."""
    tokens = tokens_of(text)
    return [Passage(tuple(tokens[start:end])) for start, end in passages(text, tokens)]


def bio_labels(tags: Sequence[str]) -> tuple[str, ...]:
    """O, and B- and I- of every tag."""
    return (OUTSIDE, *(f"{kind}-{tag}" for tag in tags for kind in "BI"))


def tags_in(labels: Sequence[str]) -> tuple[str, ...]:
    """The tags that BIO labels are of, each once: the other way round."""
    return tuple(dict.fromkeys(one[2:] for one in labels if one != OUTSIDE))


@dataclass(frozen=True, eq=False)
class TextTagger:
    """Parts that answer together; `labels` are BIO tags."""

    parts: tuple[TokenScorer, ...]
    weights: tuple[float, ...]
    labels: tuple[str, ...]
    temperature: float

    def predict(self, texts: Sequence[str]) -> list[Spans]:
        """The spans of each text. Raises UsageError for an empty text."""
        require_texts(list(texts))
        return [self._answer(text) for text in texts]

    def _answer(self, text: str) -> Spans:
        found: list[Span] = []
        waiting = iter(passages_of(text))
        while some := list(islice(waiting, BATCH_PASSAGES)):
            raw = [scored(part, self.labels, some) for part in self.parts]
            for place, passage in enumerate(some):
                rows = joined([one[place] for one in raw], self.weights, self.temperature, False)
                found += tagged(passage, rows, self.labels)
        spans = (FoundSpan(s.start, s.end, s.tag, text[s.start : s.end]) for s in found)
        return Spans(tuple(spans))


def scored(
    part: TokenScorer, labels: Sequence[str], some: Sequence[Passage]
) -> list[Float64[np.ndarray, "T N"]]:
    """What a part says of each passage, a column for each of these labels."""
    return list(_in_order(part, labels, some))


def _in_order(
    part: TokenScorer, labels: Sequence[str], some: Sequence[Passage]
) -> Iterator[Float64[np.ndarray, "T N"]]:
    places = {name: place for place, name in enumerate(part.labels)}
    columns = [(column, places[name]) for column, name in enumerate(labels) if name in places]
    ours, theirs = zip(*columns, strict=True)
    for found in part.batch_tag_probabilities([one.words for one in some]):
        ordered = np.zeros((len(found), len(labels)))
        ordered[:, ours] = found[:, theirs]
        yield ordered


def tagged(
    passage: Passage, probabilities: Float64[np.ndarray, "T N"], labels: Sequence[str]
) -> tuple[Span, ...]:
    """The spans of the likeliest tags that make sense together."""
    logs = np.log(np.maximum(probabilities, LEAST_PROBABILITY))
    return spans_of(passage.tokens, best_tags(logs, labels))
