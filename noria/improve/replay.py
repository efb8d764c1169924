"""Feedback beside the data that a model was first made of, so that what it knew is not forgotten.

In: curated examples, original records, the share that should be original. Out: both, in an order
that the words alone decide. Every label of the original keeps its share of what is replayed.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import TypeVar

from noria.corpus.balance import MAX_COPIES
from noria.errors import UsageError
from noria.records import Labelled, Record, record_texts

RecordT = TypeVar("RecordT", bound=Record)


def with_replay(
    feedback: Sequence[RecordT], original: Sequence[RecordT], share: float, seed: int
) -> list[RecordT]:
    """Feedback with so much of the original data that it is at least this share of all.

    All of the original is taken where that is more than enough; where it is too little, each
    record is there up to 4 times (noria.corpus.balance says why no more), and then feedback is
    left out rather than the share undercut. Raises UsageError for a share outside [0, 1), or a
    share of nothing.
    """
    if not 0.0 <= share < 1.0:
        raise UsageError(f"replay = {share}", "0 or more, and less than 1", "change it")
    if share and not original:
        raise UsageError("nothing to replay", "the records that the model was made of")
    wanted = math.ceil(len(feedback) * share / (1 - share))
    copies = min(int(MAX_COPIES), max(1, -(-wanted // max(1, len(original)))))
    replayed = _drawn(original, max(wanted, len(original)), copies, seed)
    most = int(len(replayed) * (1 - share) / share) if share else len(feedback)
    kept = sorted(feedback, key=lambda one: _digest(one, seed))[:most]
    return sorted([*kept, *replayed], key=lambda one: _digest(one, seed + 1))


def _drawn(original: Sequence[RecordT], count: int, copies: int, seed: int) -> list[RecordT]:
    """So many records, each up to `copies` times, every label by its share."""
    by_label: dict[tuple[str, ...], list[RecordT]] = defaultdict(list)
    for one in original:
        by_label[one.labels if isinstance(one, Labelled) else ()].append(one)
    drawn: list[RecordT] = []
    for _, own in sorted(by_label.items()):
        own.sort(key=lambda one: _digest(one, seed))
        share = math.ceil(count * len(own) / len(original))
        drawn += (own * copies)[:share]
    return drawn


def _digest(record: Record, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{chr(0).join(record_texts(record))}".encode()).digest()
