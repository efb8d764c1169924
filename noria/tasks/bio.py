"""Spans of characters to one tag for each token and back, and the likeliest tags that make sense.

In: spans over characters with the tokens of a text, or what scorers say of each token. Out: BIO
tags (B-x begins a span of x, I-x goes on, O is outside), or spans. This module does not know who
scores. Ramshaw and Marcus 1995; a tag that goes on where nothing began is never an answer here.
Legend: T tokens, N tags.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from noria.errors import UsageError
from noria.records import Span
from noria.tasks.words import Token

OUTSIDE = "O"
LEAST_PROBABILITY = 1e-9  # of a tag to which a scorer gives none, so that others may outvote it


@dataclass(frozen=True)
class Tags:
    """One tag for each token, and how many spans were not kept as they were.

    num_moved: cut a token, which is theirs now as a whole, or had white space at an end, which is
    not. num_lost: stand on no token, or on one that a longer span has.
    """

    tags: tuple[str, ...]
    num_moved: int = 0
    num_lost: int = 0


def tags_of(tokens: Sequence[Token], spans: Iterable[Span]) -> Tags:
    """BIO tags of a text's tokens. Of spans that overlap the longest is kept, then the first.

    Raises UsageError for a span that is empty, begins before the text or has no tag.
    """
    starts, ends = [one.start for one in tokens], [one.end for one in tokens]
    tags = [OUTSIDE] * len(tokens)
    taken = [False] * len(tokens)
    moved = lost = 0
    for span in sorted(spans, key=lambda one: (one.start - one.end, one.start, one.tag)):
        if not 0 <= span.start < span.end or not span.tag:
            raise UsageError(
                f"a span {span.tag!r} over characters {span.start} to {span.end}",
                "a tag, and an end behind its beginning",
                "correct the span",
            )
        first, last = bisect_right(ends, span.start), bisect_left(starts, span.end)
        if first == last or any(taken[first:last]):
            lost += 1
            continue
        moved += (starts[first], ends[last - 1]) != (span.start, span.end)
        tags[first:last] = [f"B-{span.tag}"] + [f"I-{span.tag}"] * (last - first - 1)
        taken[first:last] = [True] * (last - first)
    return Tags(tuple(tags), moved, lost)


def spans_of(tokens: Sequence[Token], tags: Sequence[str]) -> tuple[Span, ...]:
    """The spans of characters that tags stand for, in order.

    A tag that goes on where nothing of its name began begins a span.
    Raises UsageError for another number of tags than tokens, or a tag that is none of BIO.
    """
    if len(tokens) != len(tags):
        raise UsageError(f"{len(tags)} tags of {len(tokens)} tokens", "one for each")
    found: list[Span] = []
    name = ""  # of the span that is open; "" if none is
    for token, tag in zip(tokens, tags, strict=True):
        kind, new = split_tag(tag)
        if kind == "I" and new == name:
            found[-1] = Span(found[-1].start, token.end, name)
        elif kind != OUTSIDE:
            found.append(Span(token.start, token.end, new))
        name = new
    return tuple(found)


def split_tag(tag: str) -> tuple[str, str]:
    """("B", name), ("I", name) or ("O", ""). Raises UsageError for a tag that is none of these."""
    kind, _, name = tag.partition("-")
    if tag != OUTSIDE and (kind not in ("B", "I") or not name):
        raise UsageError(f"tag {tag!r}", "O, or B- or I- and a name", "convert the tags to BIO")
    return kind, name


def may_follow(labels: Sequence[str]) -> Bool[np.ndarray, "N1 N"]:
    """Whether a tag (column) may stand behind another (row); the last row is a text's beginning.

    N1 is N + 1. Raises UsageError for a tag that is none of BIO.
    """
    parts = [split_tag(label) for label in labels]
    before = [*parts, (OUTSIDE, "")]
    return np.array([[new[0] != "I" or new[1] == old[1] for new in parts] for old in before])


def best_tags(
    log_probabilities: Float64[np.ndarray, "T N"], labels: Sequence[str]
) -> tuple[str, ...]:
    """The tags with the largest sum of log probabilities among those that make sense (Viterbi).

    Raises UsageError if the labels allow no path: "O" or a "B-" must be among them.
    """
    scores = np.asarray(log_probabilities, dtype=np.float64)
    steps = np.where(may_follow(labels), 0.0, -np.inf)  # (N + 1, N)
    if not len(scores):
        return ()
    best = steps[-1] + scores[0]
    origins = np.zeros(scores.shape, dtype=np.int64)
    for place in range(1, len(scores)):
        candidates = best[:, None] + steps[:-1]
        origins[place] = candidates.argmax(axis=0)
        best = candidates.max(axis=0) + scores[place]
    if not np.isfinite(best).any():
        raise UsageError(
            f"tags {', '.join(labels[:8])} with no way through them",
            "O, or a B- of each name",
            "train the tagger on whole spans",
        )
    path = [int(best.argmax())]
    for place in range(len(scores) - 1, 0, -1):
        path.append(int(origins[place, path[-1]]))
    return tuple(labels[one] for one in reversed(path))


def joined_log_probabilities(
    parts: Sequence[Float64[np.ndarray, "T N"]], weights: Sequence[float]
) -> Float64[np.ndarray, "T N"]:
    """ln of what several scorers say together: the weighted mean of their logarithms, normed.

    Hinton 2002, "Training products of experts": a product suits scorers that each know something
    else. A probability below LEAST_PROBABILITY counts as that. The weights need not sum to 1.
    """
    if not parts or len(parts) != len(weights) or not sum(weights) > 0:
        raise UsageError(f"{len(parts)} scorers, {len(weights)} weights", "a weight for each")
    logs = [np.log(np.maximum(part, LEAST_PROBABILITY)) for part in parts]
    mean = np.average(logs, axis=0, weights=weights)
    found: Float64[np.ndarray, "T N"] = mean - np.logaddexp.reduce(mean, axis=1, keepdims=True)
    return found
