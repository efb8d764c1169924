"""Learning from what people preferred: log-probabilities in, a loss for each pair or thumb out.

In: ln P(answer | prompt) of each answer, summed over its tokens, by the model that trains and by
the reference that it started from. Out: a loss for each example.
Legend: B examples.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from noria.model.likelihood import token_losses


def dpo_losses(
    chosen: Float[Tensor, " B"],
    rejected: Float[Tensor, " B"],
    chosen_reference: Float[Tensor, " B"],
    rejected_reference: Float[Tensor, " B"],
    beta: float,
    smoothing: float = 0.0,
) -> Float[Tensor, " B"]:
    """-ln sigmoid(beta · (gain of the chosen - gain of the rejected)).

    A gain is ln P by the model minus ln P by the reference. Rafailov et al. 2023, equation 7.
    smoothing: the share of pairs that are taken to be labelled the wrong way round (Mitchell 2023,
    conservative DPO, equation 4).
    """
    margin = beta * ((chosen - chosen_reference) - (rejected - rejected_reference))
    return -(1 - smoothing) * F.logsigmoid(margin) - smoothing * F.logsigmoid(-margin)


def kto_losses(
    answers: Float[Tensor, " B"],
    reference: Float[Tensor, " B"],
    liked: Bool[Tensor, " B"],
    divergence: Float[Tensor, ""],
    beta: float,
    liked_weight: float = 1.0,
    disliked_weight: float = 1.0,
) -> Float[Tensor, " B"]:
    """weight · (1 - sigmoid(±beta · (gain - divergence))), plus where liked, minus where not.

    Ethayarajh et al. 2024, equation 8. divergence: `kto_divergence`, no gradient.
    """
    gains = answers - reference - divergence.detach()
    losses = 1 - torch.sigmoid(beta * torch.where(liked, gains, -gains))
    return losses * (disliked_weight + (liked_weight - disliked_weight) * liked.to(losses.dtype))


def kto_divergence(
    mismatched: Float[Tensor, " B"], mismatched_reference: Float[Tensor, " B"]
) -> Float[Tensor, ""]:
    """How far the model is from its reference, estimated on answers to other prompts, at least 0.

    Ethayarajh et al. 2024, section 4.1: each prompt is given the answer of another example.
    """
    return (mismatched - mismatched_reference).mean().clamp(min=0).detach()


def answer_log_probs(
    logits: Float[Tensor, "B T V"], targets: Tensor, mask: Tensor
) -> Float[Tensor, " B"]:
    """ln P of each row's counted targets, summed. targets, mask: (B, T)."""
    losses = token_losses(logits.flatten(0, 1), targets.flatten()).view(targets.shape)
    return -(losses * mask).sum(dim=1)
