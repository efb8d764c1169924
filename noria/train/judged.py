"""Answers that people judged, as batches: pairs for DPO, thumbs for KTO, beside plain text.

In: records with their tokenizer, and the model that training starts from, which is the reference.
Out: sources of batches whose order the step's number alone decides, and the objective for each.
This module does not know who judged.
Legend: B rows of a batch, two for each example; T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from noria.errors import TrainingError
from noria.model.transformer import Decoder
from noria.records import Conversation, Pair
from noria.runtime import detect_device
from noria.tokenizer.load import Tokenizer
from noria.tokenizer.pack import encode_record
from noria.train.batch import WIDTH_STEP, Batch, PreferenceBatch
from noria.train.loop import BatchSource
from noria.train.objectives.losses import Objective, answers_of, liked, next_token, preferred

BETA = 0.1  # of both: the value of Rafailov et al. 2023 and Ethayarajh et al. 2024
Answered = Pair | Conversation  # a prompt or a chat, and the answer that is judged at its end


@dataclass(frozen=True)
class Thumbed:
    """An answer that was liked or not, and the answer of another example to the same prompt."""

    answer: Answered
    mismatched: Answered
    liked: bool


@dataclass(frozen=True, eq=False)
class JudgedBatches:
    """Batches of so many examples, in an order that the seed decides; every one once a pass."""

    ids: Tensor  # (2 N, T + 1)
    mask: Tensor
    reference: Tensor  # (2 N,)
    thumbs: Tensor | None
    num_examples: int
    seed: int

    def batch(self, step: int) -> PreferenceBatch:
        """The batch of a step (from 0)."""
        chosen = self._examples(step)
        rows = torch.tensor([row for one in chosen for row in (2 * one, 2 * one + 1)])
        mask = self.mask[rows, 1:]
        return PreferenceBatch(
            self.ids[rows, :-1],
            self.ids[rows, 1:],
            mask,
            self.reference[rows],
            None if self.thumbs is None else self.thumbs[chosen],
        )

    def describe(self, step: int) -> str:
        """Which examples are in it."""
        kind = "pairs" if self.thumbs is None else "thumbs"
        return f"{kind} {', '.join(map(str, self._examples(step)))}"

    def _examples(self, step: int) -> list[int]:
        num = len(self.ids) // 2
        places = range(step * self.num_examples, (step + 1) * self.num_examples)
        passes = {one // num for one in places}
        orders = {one: np.random.default_rng([self.seed, one]).permutation(num) for one in passes}
        return [int(orders[one // num][one % num]) for one in places]


@dataclass(frozen=True, eq=False)
class InTurn:
    """Several sources one after the other, each with its own count of steps."""

    sources: tuple[BatchSource, ...]

    def batch(self, step: int) -> Batch:
        """The batch of a step (from 0)."""
        source, own = self._of(step)
        return source.batch(own)

    def describe(self, step: int) -> str:
        """Which examples are in it."""
        source, own = self._of(step)
        return source.describe(own)

    def _of(self, step: int) -> tuple[BatchSource, int]:
        num = len(self.sources)
        return self.sources[step % num], step // num


def pair_batches(
    tokenizer: Tokenizer,
    reference: Decoder,
    pairs: Sequence[tuple[Answered, Answered]],
    context_tokens: int,
    num_examples: int,
    seed: int,
) -> JudgedBatches:
    """Batches of pairs, the better answer first.

    Raises TrainingError if no pair fits into the context.
    """
    kept = [both for one in pairs if (both := _encoded(tokenizer, one, context_tokens)) is not None]
    return _batches(reference, kept, None, num_examples, seed)


def thumb_batches(
    tokenizer: Tokenizer,
    reference: Decoder,
    thumbs: Sequence[Thumbed],
    context_tokens: int,
    num_examples: int,
    seed: int,
) -> JudgedBatches:
    """Batches of thumbs. Raises TrainingError if no answer fits into the context."""
    kept, said = [], []
    for one in thumbs:
        both = _encoded(tokenizer, (one.answer, one.mismatched), context_tokens)
        if both is not None:
            kept.append(both)
            said.append(one.liked)
    return _batches(reference, kept, torch.tensor(said), num_examples, seed)


def by_kind() -> Objective:
    """The objective of each batch: KTO of thumbs, DPO of pairs, the next token of text."""
    text, pairs, thumbs = next_token(), preferred(BETA), liked(BETA)

    def loss(model: Decoder, batch: Batch) -> Tensor:
        if not isinstance(batch, PreferenceBatch):
            return text(model, batch)
        return (pairs if batch.liked is None else thumbs)(model, batch)

    return loss


_Row = tuple[list[int], list[int]]


def _encoded(
    tokenizer: Tokenizer, both: tuple[Answered, Answered], context_tokens: int
) -> tuple[_Row, _Row] | None:
    """Ids and mask of both answers; None if one is too long, or says nothing."""
    lead = [tokenizer.end_id] if tokenizer.start_ids == (tokenizer.end_id,) else []
    rows = []
    for one in both:
        ids, mask = encode_record(tokenizer, one)
        if len(lead) + len(ids) > context_tokens + 1 or not any(mask):
            return None
        rows.append(([*lead, *ids], [0] * len(lead) + list(mask)))
    return rows[0], rows[1]


def _batches(
    reference: Decoder,
    kept: Sequence[tuple[_Row, _Row]],
    thumbs: Tensor | None,
    num_examples: int,
    seed: int,
) -> JudgedBatches:
    if not kept:
        raise TrainingError(
            "no judged answer that fits into the context",
            "one at least",
            "train on corrections alone, or raise model.context_tokens",
        )
    rows = [row for both in kept for row in both]
    longest = max(len(ids) for ids, _ in rows) - 1
    width = -(-longest // WIDTH_STEP) * WIDTH_STEP + 1
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.bool)
    for place, (some, counted) in enumerate(rows):
        ids[place, : len(some)] = torch.tensor(some)
        mask[place, : len(counted)] = torch.tensor(counted, dtype=torch.bool)
    said = _reference(reference, ids, mask)
    return JudgedBatches(ids, mask, said, thumbs, min(num_examples, len(kept)), seed)


def _reference(model: Decoder, ids: Tensor, mask: Tensor, num_rows: int = 8) -> Tensor:
    """ln P of each answer by the model that training starts from. (2 N,)."""
    found = []
    device = detect_device()
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for start in range(0, len(ids), num_rows):
            some, counted = ids[start : start + num_rows], mask[start : start + num_rows]
            batch = PreferenceBatch(
                some[:, :-1], some[:, 1:], counted[:, 1:], torch.zeros(len(some))
            ).to(torch.device(device))
            found.append(answers_of(model, batch).float().cpu())
    model.train(was_training)
    return torch.cat(found)
