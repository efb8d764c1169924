"""Feedback in; pairs to learn from and pairs to be judged on out, each taken or left for a reason.

The split depends on the prompt alone: what was once held out is never trained on, however much
feedback comes later. The order depends on the words alone, so the same feedback gives the same
challenger whatever the order in which it arrived.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from noria.feedback.interactions import Feedback, Interaction
from noria.records import Conversation, Message, Pair, Source, record_texts, text_content

CuratedRecord = Pair | Conversation


@dataclass(frozen=True)
class Curated:
    """What was taken, and how much was left for which reason."""

    train: tuple[CuratedRecord, ...]
    held_out: tuple[CuratedRecord, ...]
    left: dict[str, int]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the words, in order: the same feedback has the same digest."""
        parts = [[record_texts(record) for record in side] for side in (self.train, self.held_out)]
        return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()

    def facts(self) -> dict[str, Any]:
        """Counts for the report."""
        return {
            "num_train": len(self.train),
            "num_held_out": len(self.held_out),
            "left": self.left,
            "digest": self.digest,
        }


def _order_digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8")).hexdigest()


def _is_held_out(prompt: str, share: float) -> bool:
    return int(_order_digest("held-out", prompt)[:12], 16) / 16**12 < share


def _as_record(interaction: Interaction, correction: str) -> CuratedRecord:
    source = Source(file="feedback", interaction=interaction.id)
    if interaction.kind == "chat":
        turns = [
            Message(turn["role"], text_content(turn["content"]))
            for turn in json.loads(interaction.prompt)
        ]
        return Conversation((*turns, Message("assistant", text_content(correction))), source)
    return Pair(text_content(interaction.prompt), text_content(correction), source)


def curate(corrections: Sequence[tuple[Interaction, Feedback]], held_out_share: float) -> Curated:
    """Take the last correction of each prompt, if it changes anything; split by prompt."""
    left: Counter[str] = Counter()
    latest: dict[tuple[str, str], tuple[Interaction, Feedback]] = {}
    for interaction, feedback in sorted(corrections, key=lambda c: (c[1].created_at, c[1].id)):
        if not feedback.value.strip():
            left["empty"] += 1
        elif feedback.value.strip() == interaction.answer.strip():
            left["the answer was right already"] += 1
        else:
            key = (interaction.kind, interaction.prompt)
            if key in latest:
                same = latest[key][1].value == feedback.value
                left["duplicate" if same else "replaced by a later correction"] += 1
            latest[key] = (interaction, feedback)
    ordered = sorted(latest.values(), key=lambda c: _order_digest(c[0].prompt, c[1].value))
    sides: dict[bool, list[CuratedRecord]] = {True: [], False: []}
    for interaction, feedback in ordered:
        held_out = _is_held_out(interaction.prompt, held_out_share)
        sides[held_out].append(_as_record(interaction, feedback.value))
    return Curated(tuple(sides[False]), tuple(sides[True]), dict(left))
