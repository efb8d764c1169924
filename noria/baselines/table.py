"""One table: how good each contender is, and what it costs to train, to ask and to keep.

In: contenders (a name, a callable that answers, one that saves, the seconds of training) and
examples that none of them was trained on. Out: rows, and the rows as Markdown.
This module does not know how anything answers: a Transformer is a contender as a word count is. It
does not know how an interval is found either; that is given to it.
Legend: E examples.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from noria.baselines.interface import Classifier, Ids, LanguageModel, Tagger
from noria.baselines.labels import likeliest_label
from noria.errors import UsageError

Floats = NDArray[np.float64]
InputT = TypeVar("InputT")
AnswerT = TypeVar("AnswerT")
GoldT = TypeVar("GoldT")
ModelT = TypeVar("ModelT")


@runtime_checkable
class Interval(Protocol):
    """A value and the ends of its confidence interval."""

    @property
    def value(self) -> float:
        """What was found."""
        ...

    @property
    def low(self) -> float:
        """The lower end."""
        ...

    @property
    def high(self) -> float:
        """The upper end."""
        ...


RatioInterval = Callable[[Floats, NDArray[np.int64]], Interval]  # of sum(over) / sum(under), (E,)


@dataclass(frozen=True)
class Example(Generic[InputT, GoldT]):
    """What is asked, and what a metric holds the answer against."""

    input: InputT
    gold: GoldT


@dataclass(frozen=True)
class Metric(Generic[InputT, AnswerT, GoldT]):
    """A ratio of sums over examples: `parts` gives what one answer adds above and below the line.

    Accuracies, F1 (2 · hits above, found + wanted below) and bits per byte are all of this form.
    """

    name: str
    parts: Callable[[AnswerT, Example[InputT, GoldT]], tuple[float, int]]


@dataclass(frozen=True)
class Contender(Generic[InputT, AnswerT]):
    """Something that answers, one input at a time; `save` writes all that it needs for it."""

    name: str
    answer: Callable[[InputT], AnswerT]
    save: Callable[[Path], None]
    train_s: float


@dataclass(frozen=True)
class Row:
    """A line of the table; `latency_s` is the median of one answer, by one process."""

    name: str
    metric: str
    value: float
    low: float
    high: float
    train_s: float
    latency_s: float
    size_bytes: int


def timed(train: Callable[[], ModelT]) -> tuple[ModelT, float]:
    """What a training returns, and how many seconds it took."""
    started_at = time.perf_counter()
    model = train()
    return model, time.perf_counter() - started_at


def language_contender(name: str, train: Callable[[], LanguageModel]) -> Contender[Ids, Floats]:
    """Train a baseline that answers ids with their log probabilities."""
    model, train_s = timed(train)
    return Contender(name, model.log_probs, model.save, train_s)


def class_contender(name: str, train: Callable[[], Classifier]) -> Contender[str, str]:
    """Train a baseline that answers a text with its likeliest label."""
    model, train_s = timed(train)
    return Contender(name, likeliest_label(model), model.save, train_s)


def tag_contender(
    name: str, train: Callable[[], Tagger]
) -> Contender[Sequence[str], Sequence[str]]:
    """Train a baseline that answers tokens with tags."""
    model, train_s = timed(train)
    return Contender(name, model.tag, model.save, train_s)


# gold: how many bytes of text the ids stand for, so that tokenizers can be compared
BITS_PER_BYTE: Metric[Ids, Floats, int] = Metric(
    "bits per byte", lambda log_probs, one: (-float(log_probs.sum()) / math.log(2), one.gold)
)
ACCURACY: Metric[str, str, str] = Metric("accuracy", lambda label, one: (label == one.gold, 1))
TAG_ACCURACY: Metric[Sequence[str], Sequence[str], Sequence[str]] = Metric(
    "tag accuracy",
    lambda tags, one: (sum(map(str.__eq__, tags, one.gold)), len(one.gold)),
)


def measure(
    contender: Contender[InputT, AnswerT],
    examples: Sequence[Example[InputT, GoldT]],
    metric: Metric[InputT, AnswerT, GoldT],
    interval: RatioInterval,
) -> Row:
    """Ask a contender every example, one by one, and save it once to see how large it is.

    The first example is asked twice, the first time without a clock: libraries wake up slowly.
    Raises UsageError without examples.
    """
    if not examples:
        raise UsageError("no examples to measure on", "one at least", "hold back some data")
    contender.answer(examples[0].input)
    parts, seconds = [], []
    for example in examples:
        answer, latency_s = timed(partial(contender.answer, example.input))
        parts.append(metric.parts(answer, example))
        seconds.append(latency_s)
    over = np.array([one[0] for one in parts], dtype=np.float64)
    under = np.array([one[1] for one in parts], dtype=np.int64)
    found = interval(over, under)
    return Row(
        contender.name,
        metric.name,
        found.value,
        found.low,
        found.high,
        contender.train_s,
        median(seconds),
        saved_bytes(contender.save),
    )


def saved_bytes(save: Callable[[Path], None]) -> int:
    """Bytes of the files that `save` writes."""
    with TemporaryDirectory() as folder:
        save(Path(folder))
        return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())


def to_markdown(rows: Sequence[Row]) -> str:
    """The rows as a table, in their order."""
    lines = [
        "| model | metric | value (95%) | training | one answer | size |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in rows:
        cells = (
            row.name,
            row.metric,
            f"{row.value:.3f} ({row.low:.3f} to {row.high:.3f})",
            f"{row.train_s:.1f} s",
            f"{row.latency_s * 1e3:.2f} ms",
            f"{row.size_bytes / 1e6:.2f} MB",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
