"""The measured examples of an application: what models say of them, and how good that is.

In: records of one split. Out: raw probabilities of a part on them, the gold side to calibrate by,
answers as noria.evaluate measures them, and the threshold below which it is better to abstain. All
that differs between kinds of application is here; what compares models does not know the kind.
Legend: M rows (texts of classify, tokens of tag), N labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from noria.baselines.interface import Baseline, Classifier, Labeller, TokenScorer
from noria.evaluate.classes import NONE, Classified, MultiLabelled
from noria.evaluate.results import Answers
from noria.evaluate.spans import SpanAnswers
from noria.records import Record, Span, Tagged, record_texts
from noria.stages.task_data import Example, labels_of
from noria.task_settings import TaskSettings
from noria.tasks.bio import tags_of
from noria.tasks.classify import in_order
from noria.tasks.tag import (
    BATCH_PASSAGES,
    TAG,
    Passage,
    bio_labels,
    passages_of,
    scored,
    tagged,
)

Floats = NDArray[np.float64]
MANY_THRESHOLD = 0.5  # of each label by itself, where nothing is held out to find a better one


class Examples(Protocol):
    """One split of an application."""

    @property
    def records(self) -> tuple[Record, ...]:
        """What is asked, in order."""
        ...

    def raw(self, part: Baseline) -> Floats:
        """What a part says: (M, N)."""
        ...

    def to_calibrate(self, raw: Floats) -> tuple[Floats, NDArray[Any]]:
        """The rows that have a right answer, and it."""
        ...

    def answers(self, probabilities: Floats, threshold: float) -> Answers:
        """The answers, one a record."""
        ...

    def threshold(self, probabilities: Floats, answered_right: float) -> float:
        """The threshold that these examples speak for."""
        ...


@dataclass(frozen=True, eq=False)
class ClassExamples:
    """Texts with their labels; `labels` are those that were trained on."""

    records: tuple[Record, ...]
    labels: tuple[str, ...]
    many: bool
    out_of_scope: str

    @property
    def texts(self) -> list[str]:
        """What is asked."""
        return [record_texts(one)[0] for one in self.records]

    def raw(self, part: Baseline) -> Floats:
        """What a part says of each text."""
        assert isinstance(part, Classifier | Labeller)
        return in_order(part, self.labels, self.texts)

    @property
    def _every(self) -> tuple[str, ...]:
        """The labels, and behind them those that only stand here: a model can't be right there."""
        here = {label for one in self.records for label in labels_of(one)}
        return (*self.labels, *sorted(here - set(self.labels) - {self.out_of_scope}))

    @property
    def _gold(self) -> NDArray[np.int64]:
        """(M,) place of each text's label, NONE out of scope."""
        places = {name: place for place, name in enumerate(self._every)}
        found = [places.get(labels_of(one)[0], NONE) for one in self.records]
        return np.array(found, dtype=np.int64)

    @property
    def _gold_many(self) -> NDArray[np.bool_]:
        """(M, N) whether a text has a label."""
        has = [set(labels_of(one)) for one in self.records]
        return np.array([[label in one for label in self._every] for one in has])

    def to_calibrate(self, raw: Floats) -> tuple[Floats, NDArray[Any]]:
        """The texts whose label was trained on, and its place; of many labels all."""
        if self.many:
            return raw, self._gold_many[:, : len(self.labels)]
        known = (self._gold >= 0) & (self._gold < len(self.labels))
        return raw[known], self._gold[known]

    def answers(self, probabilities: Floats, threshold: float) -> Answers:
        """One class a text, or many."""
        unknown = len(self._every) - len(self.labels)
        wide = np.pad(probabilities, ((0, 0), (0, unknown)))
        if self.many:
            return MultiLabelled(self._every, self._gold_many, wide, threshold)
        return Classified(self._every, self._gold, wide, threshold)

    def threshold(self, probabilities: Floats, answered_right: float) -> float:
        """Of many labels: where micro F1 is highest. Else where out of scope is told best.

        That is where the mean of in-scope accuracy and out-of-scope recall is highest, which does
        not depend on how many of each were collected; and where so many of the answered are right
        as the recipe wants, if that is higher. 0 where neither is asked for.
        """
        if self.many:
            gold = self._gold_many[:, : len(self.labels)]
            return _best_f1(probabilities, gold) if len(gold) else MANY_THRESHOLD
        classes, confidence = self._gold, probabilities.max(axis=1)
        right = probabilities.argmax(axis=1) == classes
        inside = classes != NONE
        found = _best_balance(confidence, right, inside) if (~inside).any() else 0.0
        return max(found, _reached(confidence, right, answered_right))


def _best_f1(probabilities: Floats, gold: NDArray[np.bool_]) -> float:
    """The threshold of the highest micro F1; the middle of where it is highest."""
    flat, right = probabilities.reshape(-1), gold.reshape(-1)
    order = np.argsort(-flat, kind="stable")
    hits = np.cumsum(right[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + max(1, int(right.sum())))
    best = int(f1.argmax())
    below = flat[order[best + 1]] if best + 1 < len(order) else 0.0
    return float((flat[order[best]] + below) / 2)


def _best_balance(confidence: Floats, right: NDArray[np.bool_], inside: NDArray[np.bool_]) -> float:
    """Where the mean of in-scope accuracy and out-of-scope recall is highest."""
    order = np.argsort(-confidence, kind="stable")
    answered = np.cumsum((right & inside)[order]) / max(1, int(inside.sum()))
    let_in = np.cumsum(~inside[order]) / max(1, int((~inside).sum()))
    best = int((answered - let_in).argmax())
    below = confidence[order[best + 1]] if best + 1 < len(order) else 0.0
    return float((confidence[order[best]] + below) / 2)


def _reached(confidence: Floats, right: NDArray[np.bool_], answered_right: float) -> float:
    """The lowest threshold above which so many are right; the one of the most right, if none is."""
    if not answered_right:
        return 0.0
    order = np.argsort(-confidence, kind="stable")
    share = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(share >= answered_right)
    last = int(enough[-1]) if len(enough) else int(share.argmax())
    return float(confidence[order[last]])


@dataclass(frozen=True, eq=False)
class TagExamples:
    """Texts with their spans; `labels` are the BIO tags that were trained on."""

    records: tuple[Record, ...]
    labels: tuple[str, ...]

    @cached_property
    def _passages(self) -> list[list[Passage]]:
        """What is read of each text; every token of all of them is a row."""
        return [passages_of(record_texts(one)[0]) for one in self.records]

    def raw(self, part: Baseline) -> Floats:
        """What a part says of each token."""
        assert isinstance(part, TokenScorer)
        every = [passage for some in self._passages for passage in some]
        found = [
            rows
            for start in range(0, len(every), BATCH_PASSAGES)
            for rows in scored(part, self.labels, every[start : start + BATCH_PASSAGES])
        ]
        return np.concatenate([np.zeros((0, len(self.labels))), *found])

    def to_calibrate(self, raw: Floats) -> tuple[Floats, NDArray[Any]]:
        """The tokens whose tag was trained on, and its place."""
        places = {name: place for place, name in enumerate(self.labels)}
        gold = [
            places.get(tag, NONE)
            for record, some in zip(self.records, self._passages, strict=True)
            for tag in tags_of([t for one in some for t in one.tokens], spans_in(record)).tags
        ]
        found = np.array(gold, dtype=np.int64)
        return raw[found != NONE], found[found != NONE]

    def answers(self, probabilities: Floats, threshold: float) -> Answers:
        """The spans of each text; there is nothing to abstain from."""
        predicted, row = [], 0
        for some in self._passages:
            spans: set[Span] = set()
            for passage in some:
                end = row + len(passage.tokens)
                spans |= set(tagged(passage, probabilities[row:end], self.labels))
                row = end
            predicted.append(frozenset(spans))
        gold = tuple(frozenset(spans_in(one)) for one in self.records)
        return SpanAnswers(gold, tuple(predicted))

    def threshold(self, probabilities: Floats, answered_right: float) -> float:
        """None: every text is answered."""
        return 0.0


def spans_in(record: Record) -> tuple[Span, ...]:
    """The spans of a tagged text."""
    return record.spans if isinstance(record, Tagged) else ()


def model_labels(kind: str, labels: Sequence[str]) -> tuple[str, ...]:
    """The columns of what a model says: the labels, or the BIO tags of all tags."""
    return bio_labels(labels) if kind == TAG.kind else tuple(labels)


def examples_for(
    task: TaskSettings, records: Sequence[Example], labels: Sequence[str], many: bool
) -> Examples:
    """One split of an application, as its kind asks it; `labels` are a model's columns."""
    if task.kind == TAG.kind:
        return TagExamples(tuple(records), tuple(labels))
    return ClassExamples(tuple(records), tuple(labels), many, task.out_of_scope)
