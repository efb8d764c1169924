"""What a tagger made of sentences, as sums: a span counts if its ends and its tag are right.

In: gold and found spans, or BIO tags. Out: Sums with precision, recall and F1 (macro, micro, of
each tag) and exact match. This module does not know what a span is of: characters or tokens.

Two readings of BIO tags: the default one, in which a tag that continues nothing begins a span (the
scorer of CoNLL-2000), and the strict one, in which it belongs to no span (IOB2). They equal
seqeval's default and its strict mode (`benchmarks/span_f1.py`; docs/log.md says why it is not
installed here).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noria.errors import UsageError
from noria.evaluate.classes import count_metrics, share_metric
from noria.evaluate.sums import Sums, sparse_sums
from noria.records import Span


@dataclass(frozen=True, eq=False)
class SpanAnswers:
    """The spans of E texts, as they are and as they were found."""

    gold: tuple[frozenset[Span], ...]
    predicted: tuple[frozenset[Span], ...]

    def __post_init__(self) -> None:
        if len(self.gold) != len(self.predicted) or not self.gold:
            raise UsageError(
                f"spans of {len(self.gold)} and of {len(self.predicted)} texts",
                "the same texts, one at least",
            )

    @property
    def tags(self) -> tuple[str, ...]:
        """Every tag that occurs, sorted."""
        return tuple(sorted({span.tag for one in (*self.gold, *self.predicted) for span in one}))

    def taken(self, mask: NDArray[np.bool_]) -> SpanAnswers:
        """The same of the texts where the mask says so."""
        chosen = np.flatnonzero(mask)
        gold, predicted = (tuple(one[i] for i in chosen) for one in (self.gold, self.predicted))
        return SpanAnswers(gold, predicted)


def span_sums(answers: SpanAnswers, groups: Sequence[str] = ()) -> Sums:
    """Every metric of spans; exact_match: a text all of whose spans are right.

    Raises MissingExtra without scipy.
    """
    tags = answers.tags
    places = {tag: index for index, tag in enumerate(tags)}
    num = len(answers.gold)
    rows: list[int] = []
    columns: list[int] = []
    for row, (gold, predicted) in enumerate(zip(answers.gold, answers.predicted, strict=True)):
        for block, spans in enumerate((gold, predicted, gold & predicted)):
            rows += [row] * len(spans)
            columns += [block * len(tags) + places[span.tag] for span in spans]
    everything, exact = 3 * len(tags), 3 * len(tags) + 1
    same = [a == b for a, b in zip(answers.gold, answers.predicted, strict=True)]
    entries = [
        (rows, columns, np.ones(len(rows))),
        (np.arange(num), np.full(num, everything), np.ones(num)),
        (np.arange(num), np.full(num, exact), same),
    ]
    # spans of one text are not independent: only the text is resampled, and no share is exact
    metrics = {"exact_match": share_metric(exact, everything), **count_metrics(tags, shares=False)}
    return Sums(sparse_sums(num, exact + 1, entries), metrics, tuple(groups))


def match_sums(gold: Sequence[str], predicted: Sequence[str], groups: Sequence[str] = ()) -> Sums:
    """Exact match of answers that are texts, but for white space around them."""
    if len(gold) != len(predicted):
        raise UsageError(f"{len(gold)} answers wanted, {len(predicted)} given", "one for each")
    same = [a.strip() == b.strip() for a, b in zip(gold, predicted, strict=True)]
    places, num = np.arange(len(same)), len(same)
    entries = [(places, np.zeros(num), same), (places, np.ones(num), np.ones(num))]
    return Sums(sparse_sums(num, 2, entries), {"exact_match": share_metric(0, 1)}, tuple(groups))


def bio_spans(tags: Sequence[str], strict: bool = False) -> frozenset[Span]:
    """The spans of B-, I- and O tags, as places of tokens [start, end).

    Raises UsageError for a tag of another kind.
    """
    found = []
    start, name = 0, ""  # of the span that is open; "" if none is
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, new = tag.partition("-")
        if (prefix not in ("B", "I") or not new) and tag != "O":
            raise UsageError(f"tag {tag!r}", "O, or B- or I- and a name", "convert the tags to BIO")
        if prefix == "I" and new == name:
            continue
        if name:
            found.append(Span(start, place, name))
        start, name = place, new if prefix == "B" or not strict else ""
    return frozenset(found)
