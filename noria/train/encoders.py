"""Texts and their labels in, the folder of a trained encoder out, within a time.

Two ways: a small encoder from random weights, which first learns the texts' language by guessing
hidden tokens; or a base encoder, tuned.
This module does not know records, tasks or what a label means.
Legend: N classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from noria.errors import UsageError
from noria.model.headed import HeadedModel, add_head
from noria.model.heads import HeadConfig
from noria.model.labels import HeadLabels
from noria.model.transformer import Encoder
from noria.tokenizer.for_encoders import EncoderTokenizer
from noria.tokenizer.lowered import train_lowered_tokenizer
from noria.train.bodies import encoded, framing_of, open_base, read_texts, write_encoder
from noria.train.labelled import LabelledRows, windows
from noria.train.lessons import EncoderPlan, Lesson, Progress, teach
from noria.train.objectives.losses import many_classes, one_class
from noria.train.probe import teach_head

__all__ = ["EncoderPlan", "train_scratch_classifier", "tune_classifier"]

# Of the time, for hidden tokens of the labelled texts alone: classes teach more (docs/log.md).
OWN_TEXTS_SHARE = 0.1
MIN_PROBABILITY = 1e-4  # of a label at the start, where texts carry many


def train_scratch_classifier(
    texts: Sequence[str],
    labels: Sequence[tuple[str, ...]],
    many: bool,
    unlabelled: Sequence[str],
    plan: EncoderPlan,
    out: Path,
    progress: Progress | None = None,
) -> None:
    """Write an encoder that knew nothing but these texts; `unlabelled` ones teach it language.

    labels: one for each text, or with `many` any number. Raises UsageError unless each text has its
    labels and there are two different ones at least, TrainingError if a loss stops being a number.
    """
    began_at = time.monotonic()
    taught = number_texts(texts, labels, many=many)
    if not any(text.strip() for text in texts):
        raise UsageError("texts that are all empty", "text", "check the columns")
    tokenizer = train_lowered_tokenizer([*texts, *unlabelled], plan.vocab_size)
    share = plan.pretraining_share if unlabelled else min(OWN_TEXTS_SHARE, plan.pretraining_share)
    reading = replace(plan, pretraining_share=share)
    body, facts = read_texts([*texts, *unlabelled], tokenizer, reading, progress)
    plan_left = replace(plan, seconds=plan.seconds - (time.monotonic() - began_at))
    model, head_labels, fact = _teach_classes(
        taught, body, tokenizer, plan_left, plan.scratch, 1, progress
    )
    write_encoder(out, model, tokenizer, head_labels, [facts, fact])


def tune_classifier(
    texts: Sequence[str],
    labels: Sequence[tuple[str, ...]],
    many: bool,
    plan: EncoderPlan,
    out: Path,
    progress: Progress | None = None,
) -> None:
    """Write the plan's base, tuned: its blocks and a new head; its embedding stays as it is.

    What a base knows of words that these texts lack is kept that way. Raises as
    `train_scratch_classifier` does, and UsageError without a base.
    """
    began_at = time.monotonic()
    taught = number_texts(texts, labels, many=many)
    body, tokenizer = open_base(plan)
    plan_left = replace(plan, seconds=plan.seconds - (time.monotonic() - began_at))
    model, head_labels, fact = _teach_classes(
        taught, body, tokenizer, plan_left, plan.tuning, 0, progress
    )
    write_encoder(out, model, tokenizer, head_labels, [fact])


@dataclass(frozen=True, eq=False)
class NumberedTexts:
    """Texts, the numbers of each one's labels, and what the labels are called."""

    texts: Sequence[str]
    numbers: Sequence[Tensor]
    names: tuple[str, ...]
    many: bool


def number_texts(
    texts: Sequence[str], labels: Sequence[tuple[str, ...]], *, many: bool
) -> NumberedTexts:
    """Number the different labels in the order of their names.

    Raises UsageError unless each text has one label (any number with `many`) and there are two
    different ones at least (one with `many`).
    """
    if len(texts) != len(labels):
        raise UsageError(
            f"{len(texts)} texts and labels for {len(labels)}", "labels for each", "check the data"
        )
    for number, one in enumerate(labels):
        if not many and len(one) != 1:
            raise UsageError(
                f"text {number + 1} with {len(one)} labels", "one", "declare many labels a text"
            )
    names = tuple(sorted({label for one in labels for label in one}))
    if len(names) < (1 if many else 2):
        raise UsageError(
            f"{len(names)} classes", "one or more" if many else "two or more", "add labelled texts"
        )
    places = {name: place for place, name in enumerate(names)}
    numbers = [torch.tensor([places[one] for one in some], dtype=torch.int64) for some in labels]
    return NumberedTexts(texts, numbers, names, many)


def _teach_classes(
    taught: NumberedTexts,
    body: Encoder,
    tokenizer: EncoderTokenizer,
    plan: EncoderPlan,
    lesson: Lesson,
    number: int,
    progress: Progress | None,
) -> tuple[HeadedModel, HeadLabels, dict[str, Any]]:
    """Teach a body the classes of texts under a new head, in all the seconds of the plan."""
    began_at = time.monotonic()
    num_classes = len(taught.names)
    head = HeadConfig("sequence", num_classes=num_classes, dropout=plan.dropout)
    model = add_head(body, head, plan.seed)
    if taught.many:
        state = {"classes.bias": _log_odds(taught.numbers, num_classes)}
        model.head.load_state_dict(state, strict=False)
    read = windows(
        encoded(tokenizer, taught.texts), framing_of(tokenizer, plan), lesson.batch_rows, plan.seed
    )
    labels_of = (_many_labels if taught.many else _one_label)(taught.numbers, num_classes)
    if lesson.head_first:
        teach_head(model, read.rows, read.framing, labels_of, lesson.smoothing, plan.seed)
    source = LabelledRows(read, labels_of, lesson.hidden)
    objective = many_classes() if taught.many else one_class(lesson.smoothing)
    timed = replace(plan, seconds=plan.seconds - (time.monotonic() - began_at))
    num_batches = read.order.num_batches
    fact = teach("classes", model, source, num_batches, lesson, objective, timed, number, progress)
    return model, HeadLabels(taught.names, taught.many, plan.window_tokens), fact


def _one_label(numbers: Sequence[Tensor], _: int) -> Callable[[Any], Tensor]:
    every = torch.cat(list(numbers))
    return lambda chosen: every[torch.from_numpy(chosen)]


def _many_labels(numbers: Sequence[Tensor], num_classes: int) -> Callable[[Any], Tensor]:
    """Made batch by batch: a table of all texts by 10,000 labels would fill memory."""

    def labels_of(chosen: Any) -> Tensor:
        found = torch.zeros(len(chosen), num_classes)
        for row, number in enumerate(chosen):
            found[row, numbers[number]] = 1
        return found

    return labels_of


def _log_odds(numbers: Sequence[Tensor], num_classes: int) -> Tensor:
    """Of each label among the texts: a head that begins there need not learn what is rare. (N,)."""
    counts = torch.bincount(torch.cat(list(numbers)), minlength=num_classes)
    return (counts / len(numbers)).clamp(MIN_PROBABILITY, 1 - MIN_PROBABILITY).logit()
