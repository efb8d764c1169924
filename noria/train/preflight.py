"""What would go wrong is said before the first step: a look at the tokens, and one full rehearsal.

In: shards and what the tokenizer says of ends and beginnings; then a model and its longest rows.
Out: findings with numbers and what to do. This module does not know recipes or text.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from noria.errors import TrainingError
from noria.tokenizer.pack import Shard
from noria.train.batch import Batch
from noria.train.checkpoint import frozen_digest, save_checkpoint
from noria.train.loop import held_out_loss
from noria.train.objectives.losses import Objective
from noria.train.optim import build_optimizer
from noria.train.plan import Choices, TrainPlan
from noria.train.step import accumulate


@dataclass(frozen=True)
class Finding:
    """Something about the tokens; a fatal one makes training senseless."""

    given: str
    fix: str
    fatal: bool = False

    def __str__(self) -> str:
        return f"{self.given}: {self.fix}"


def inspect_tokens(
    train: Shard,
    held_out: Shard | None,
    stop_ids: frozenset[int],
    start_ids: tuple[int, ...],
    context_tokens: int,
    *,
    whole: bool,
) -> list[Finding]:
    """What is wrong with the tokens that a model is to learn from.

    stop_ids end an answer or a text; start_ids begin a sequence. whole: a sequence is a row, so
    that what is longer than the context is cut.
    """
    if int(train.mask.sum()) == 0:
        return [Finding("no token counts in the loss", "add text or answers to the corpus", True)]
    findings = [_without_end(train, stop_ids), _begun_twice(train, start_ids)]
    if whole:
        findings.append(_cut(train, context_tokens))
    if held_out is not None:
        findings.append(_leaked(train, held_out))
    return [one for one in findings if one is not None]


def raise_fatal(findings: list[Finding]) -> None:
    """Raise TrainingError for the first finding that makes training senseless."""
    for one in findings:
        if one.fatal:
            raise TrainingError(one.given, "text that a model can learn from", one.fix)


def rehearse(
    model: nn.Module,
    longest: Batch,
    held_out: Batch | None,
    plan: TrainPlan,
    choices: Choices,
    objective: Objective,
) -> None:
    """The longest batch through a training step, an evaluation and a checkpoint, all forgotten.

    What would fail for lack of memory or disk after hours fails now. The model stays as it was.
    Raises TrainingError.
    """
    optimizer = build_optimizer(model, plan.optimizer, plan.learning_rate, plan.weight_decay)
    try:
        accumulate(model, longest, choices, objective)
        model.zero_grad(set_to_none=True)
        if held_out is not None:
            held_out_loss(model, held_out, choices, objective)
        with tempfile.TemporaryDirectory() as folder:
            save_checkpoint(Path(folder), model, optimizer, 0, [], frozen_digest(model))
    except (RuntimeError, MemoryError, OSError) as error:
        raise TrainingError(
            f"the longest batch does not go through ({error})",
            "enough memory and disk for one step, one evaluation and one checkpoint",
            "lower train.batch_tokens or model.context_tokens, or set train.recompute = true",
        ) from error


def _sequences(shard: Shard) -> Iterator[npt.NDArray[Any]]:
    """Ids of each sequence."""
    for first, last in pairwise([*shard.starts.tolist(), shard.num_tokens]):
        yield np.asarray(shard.tokens[first:last])


def _without_end(shard: Shard, stop_ids: frozenset[int]) -> Finding | None:
    ends = np.isin(shard.tokens, list(stop_ids)) & (shard.mask > 0)
    counted = np.add.reduceat(ends, shard.starts) if len(shard.starts) else np.zeros(0)
    num_open, num_all = int((counted == 0).sum()), len(counted)
    if num_open == 0:
        return None
    return Finding(
        f"{num_open:,} of {num_all:,} sequences have no end token that counts",
        "a model that never saw an end does not stop; end each text or answer with it",
        fatal=num_open == num_all,
    )


def _begun_twice(shard: Shard, start_ids: tuple[int, ...]) -> Finding | None:
    if len(start_ids) != 1:
        return None
    tokens, starts = shard.tokens, shard.starts[shard.starts + 1 < shard.num_tokens]
    twice = int(((tokens[starts] == start_ids[0]) & (tokens[starts + 1] == start_ids[0])).sum())
    if not twice:
        return None
    return Finding(
        f"{twice:,} of {len(shard.starts):,} sequences begin with two start tokens",
        "take the start token out of the text; the tokenizer adds it",
    )


def _cut(shard: Shard, context_tokens: int) -> Finding | None:
    lengths = np.diff([*shard.starts.tolist(), shard.num_tokens])
    num_cut = int((lengths > context_tokens).sum())
    if not num_cut:
        return None
    middle, most, longest = np.percentile(lengths, [50, 90, 100]).astype(int)
    return Finding(
        f"{num_cut:,} of {len(lengths):,} sequences are longer than {context_tokens:,} tokens and "
        f"are cut (half are shorter than {middle:,}, nine of ten than {most:,}, the longest has "
        f"{longest:,})",
        "raise model.context_tokens, or shorten them",
    )


def _leaked(train: Shard, held_out: Shard) -> Finding | None:
    known = {blake2b(ids.tobytes(), digest_size=16).digest() for ids in _sequences(train)}
    found = [blake2b(ids.tobytes(), digest_size=16).digest() for ids in _sequences(held_out)]
    num_leaked = sum(one in known for one in found)
    if not num_leaked:
        return None
    return Finding(
        f"{num_leaked:,} of {len(found):,} held-out sequences stand in the training text too",
        "take them out of one of the two: numbers measured on them say nothing",
        fatal=num_leaked == len(found),
    )
