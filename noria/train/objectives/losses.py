"""Objectives: a model and a batch in, the batch's summed loss with its graph out.

The trainer divides by what the batch counts, so that micro-batches of uneven size add up to the
gradient of the whole. Each function here is made from one in its neighbours, which has the formula.
Legend: B rows, T tokens, V vocabulary, N classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noria.model.headed import HeadedModel
from noria.model.likelihood import cross_entropy_sum
from noria.model.masks import Rows
from noria.model.transformer import Decoder, EncoderDecoder
from noria.train.batch import LabelBatch, PreferenceBatch, SourceBatch, TokenBatch
from noria.train.objectives.distil import distillation_losses
from noria.train.objectives.preference import (
    answer_log_probs,
    dpo_losses,
    kto_divergence,
    kto_losses,
)

Objective = Callable[[Any, Any], Tensor]


def next_token(smoothing: float = 0.0) -> Objective:
    """-ln P(next token): causal language models, chats, prefix language models, infilling.

    What is learned is the batch's affair: which targets count, which documents or prompts are one,
    in which order a text stands. smoothing: Szegedy et al. 2016, section 7.
    """

    def loss(model: Decoder, batch: TokenBatch) -> Tensor:
        hidden = model(batch.ids, rows=batch.rows())
        return cross_entropy_sum(model, hidden, batch.targets, batch.mask, smoothing)[0]

    return loss


def masked_token(smoothing: float = 0.0) -> Objective:
    """-ln P(token that was hidden): Devlin et al. 2018. For an encoder with a masked head."""

    def loss(model: HeadedModel, batch: TokenBatch) -> Tensor:
        hidden = model.body(batch.ids, Rows(real=batch.real))
        return cross_entropy_sum(model.head, hidden, batch.targets, batch.mask, smoothing)[0]  # type: ignore[arg-type]

    return loss


def target_token(smoothing: float = 0.0) -> Objective:
    """-ln P(next token of the target | source): translation, summaries, cut spans."""

    def loss(model: EncoderDecoder, batch: SourceBatch) -> Tensor:
        hidden = model(batch.source_ids, batch.ids, batch.source_real)
        return cross_entropy_sum(model, hidden, batch.targets, batch.mask, smoothing)[0]

    return loss


def one_class(smoothing: float = 0.0) -> Objective:
    """-ln P(class) of a text or of each token: softmax over the classes."""

    def loss(model: HeadedModel, batch: LabelBatch) -> Tensor:
        scores = model(batch.ids, batch.real)  # (B, N) or (B, T, N)
        losses = F.cross_entropy(
            scores.float().flatten(0, -2),
            batch.labels.flatten(),
            reduction="none",
            label_smoothing=smoothing,
        )
        return (losses * batch.counted.flatten()).sum()

    return loss


def many_classes() -> Objective:
    """Binary cross-entropy of each class of a text, in the mean over classes: labels are 0 or 1."""

    def loss(model: HeadedModel, batch: LabelBatch) -> Tensor:
        scores = model(batch.ids, batch.real).float()  # (B, N)
        losses = F.binary_cross_entropy_with_logits(scores, batch.labels.float(), reduction="none")
        return (losses.mean(dim=1) * batch.counted).sum()

    return loss


def span() -> Objective:
    """Mean of -ln P(first token) and -ln P(last token) of an answer (Devlin et al. 2018, SQuAD)."""

    def loss(model: HeadedModel, batch: LabelBatch) -> Tensor:
        log_probs = F.log_softmax(model(batch.ids, batch.real).float(), dim=1)  # (B, T, 2)
        chosen = log_probs.gather(1, batch.labels[:, None, :]).squeeze(1)  # (B, 2)
        return -(chosen.mean(dim=1) * batch.counted).sum()

    return loss


def preferred(beta: float, smoothing: float = 0.0) -> Objective:
    """DPO over pairs of a chosen and a rejected answer: `dpo_losses`."""

    def loss(model: Decoder, batch: PreferenceBatch) -> Tensor:
        found = answers_of(model, batch)
        return dpo_losses(
            found[0::2], found[1::2], batch.reference[0::2], batch.reference[1::2], beta, smoothing
        ).sum()

    return loss


def liked(beta: float, liked_weight: float = 1.0, disliked_weight: float = 1.0) -> Objective:
    """KTO over answers with a thumb up or down: `kto_losses`."""

    def loss(model: Decoder, batch: PreferenceBatch) -> Tensor:
        found = answers_of(model, batch)
        divergence = kto_divergence(found[1::2].detach(), batch.reference[1::2])
        thumbs = batch.liked
        assert thumbs is not None  # a batch of thumbs has them
        return kto_losses(
            found[0::2],
            batch.reference[0::2],
            thumbs,
            divergence,
            beta,
            liked_weight,
            disliked_weight,
        ).sum()

    return loss


def answers_of(model: Decoder, batch: PreferenceBatch) -> Tensor:
    """ln P of each row's answer. (B,)."""
    logits = model.logits(model(batch.ids))  # (B, T, V)
    return answer_log_probs(logits, batch.targets, batch.mask)


def distilled(teacher: nn.Module, temperature: float, share: float) -> Objective:
    """A share of `distillation_losses` from a teacher of the same vocabulary, the rest next_token.

    The teacher is not trained, and stays in evaluation mode.
    """
    teacher.eval().requires_grad_(False)

    def loss(model: Decoder, batch: TokenBatch) -> Tensor:
        hidden = model(batch.ids, rows=batch.rows())
        plain, _ = cross_entropy_sum(model, hidden, batch.targets, batch.mask)
        with torch.no_grad():
            wanted = teacher(batch.ids, rows=batch.rows())[batch.mask]  # (N, C)
            scores = teacher.logits(wanted)  # type: ignore[operator]
        found = model.logits(hidden[batch.mask])
        return (1 - share) * plain + share * distillation_losses(found, scores, temperature).sum()

    return loss
