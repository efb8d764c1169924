"""What hidden vectors are used for: token scores, classes, spans, one vector for a text.

In: an encoder's or decoder's hidden vectors, and which tokens are real. Out: scores, or vectors.
This module does not know losses, labels' names or files.
Legend: B batch, T tokens, C width, V vocabulary, N classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from noria.errors import UsageError
from noria.model.config import ModelConfig
from noria.model.feedforward import ACTIVATION_FUNCTIONS
from noria.model.norm import build_norm
from noria.model.stack import Stack
from noria.model.styles import one_of, switch

POOLINGS = ("mean", "first", "last")
HEAD_KINDS = ("masked", "sequence", "token", "span", "vector")


@dataclass(frozen=True)
class HeadConfig:
    """Which head, and what it needs. Raises UsageError if the values can't make one.

    num_classes: of "sequence" and "token". pooling: how "sequence" and "vector" make one vector of
    many. pooled_layer: a tanh layer after pooling, as BERT's. normalised: vectors of length 1.
    """

    kind: str
    num_classes: int = 0
    pooling: str = "mean"
    pooled_layer: bool = False
    normalised: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        one_of("head.kind", self.kind, HEAD_KINDS)
        one_of("head.pooling", self.pooling, POOLINGS)
        switch("head.pooled_layer", self.pooled_layer)
        switch("head.normalised", self.normalised)
        classes = self.kind in ("sequence", "token")
        if type(self.num_classes) is not int or (self.num_classes > 0) != classes:
            raise UsageError(
                f"a head of kind {self.kind!r} with {self.num_classes!r} classes",
                "1 or more for sequences and tokens, none for other kinds",
                "set num_classes to the number of labels",
            )
        if type(self.dropout) not in (int, float) or not 0 <= self.dropout < 1:
            raise UsageError(
                f"head.dropout = {self.dropout!r}", "a rate from 0, below 1", "change the head"
            )


def pool(
    hidden: Float[Tensor, "B T C"], real: Bool[Tensor, "B T"], pooling: str
) -> Float[Tensor, "B C"]:
    """One vector for each row: the mean of its real tokens, the first or the last of them."""
    if pooling == "mean":
        weights = real.to(hidden.dtype)[..., None]  # (B, T, 1)
        return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
    index = torch.arange(real.shape[1], device=real.device)
    if pooling == "first":
        at = torch.where(real, index, real.shape[1] - 1).amin(dim=1)
    else:
        at = torch.where(real, index, 0).amax(dim=1)
    return hidden[torch.arange(len(hidden), device=hidden.device), at]


class MaskedLanguageHead(nn.Module):
    """BERT's: a layer, its activation and norm, then the embedding, transposed, with a bias.

    Devlin et al. 2018. It scores hidden vectors as a decoder does, for the same loss.
    """

    def __init__(self, config: ModelConfig, body: Stack) -> None:
        super().__init__()
        self.layer = nn.Linear(config.width, config.width)
        self.activation = ACTIVATION_FUNCTIONS[config.feedforward.activation]
        self.norm = build_norm(config)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self._body = (body,)  # a tuple, which torch does not register: the weights are the body's

    def before_output(self, hidden: Float[Tensor, "... C"]) -> Float[Tensor, "... C"]:
        """The layer before the output matrix."""
        return self.norm(self.activation(self.layer(hidden)))  # type: ignore[no-any-return]

    def output_weight(self) -> Float[Tensor, "V C"]:
        """The embedding's."""
        return self._body[0].embedding.floats()

    def output_bias(self) -> Float[Tensor, " V"]:
        """A number for each token."""
        return self.bias

    def logits(self, hidden: Float[Tensor, "... C"]) -> Float[Tensor, "... V"]:
        """A score for each token of the vocabulary."""
        return self._body[0].embedding.scores(self.before_output(hidden)) + self.bias

    def forward(
        self, hidden: Float[Tensor, "B T C"], real: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T V"]:
        """As `logits`, for every token."""
        return self.logits(hidden)


class SequenceHead(nn.Module):
    """A score for each class of a text, from one vector of it."""

    def __init__(self, config: ModelConfig, head: HeadConfig) -> None:
        super().__init__()
        self.pooling, self.dropout = head.pooling, head.dropout
        self.layer = nn.Linear(config.width, config.width) if head.pooled_layer else None
        self.classes = nn.Linear(config.width, head.num_classes)

    def forward(
        self, hidden: Float[Tensor, "B T C"], real: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B N"]:
        """real: false where a row is padded."""
        pooled = pool(hidden, real, self.pooling)
        if self.layer is not None:
            pooled = torch.tanh(self.layer(pooled))
        return self.classes(F.dropout(pooled, self.dropout, self.training))  # type: ignore[no-any-return]


class TokenHead(nn.Module):
    """A score for each class of every token."""

    def __init__(self, config: ModelConfig, head: HeadConfig) -> None:
        super().__init__()
        self.dropout = head.dropout
        self.classes = nn.Linear(config.width, head.num_classes)

    def forward(
        self, hidden: Float[Tensor, "B T C"], real: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T N"]:
        """Padded tokens get scores too, which mean nothing."""
        return self.classes(F.dropout(hidden, self.dropout, self.training))  # type: ignore[no-any-return]


class SpanHead(nn.Module):
    """How well each token begins a span, and how well it ends it (Devlin et al. 2018, SQuAD)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.ends = nn.Linear(config.width, 2)

    def forward(
        self, hidden: Float[Tensor, "B T C"], real: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T 2"]:
        """Minus infinity where a row is padded: a softmax over T gives such tokens nothing."""
        scores: Tensor = self.ends(hidden)
        return scores.masked_fill(~real[..., None], float("-inf"))


class VectorHead(nn.Module):
    """One vector for a text, of length 1 if so wished: Reimers & Gurevych 2019, Sentence-BERT."""

    def __init__(self, head: HeadConfig) -> None:
        super().__init__()
        self.pooling, self.normalised = head.pooling, head.normalised

    def forward(
        self, hidden: Float[Tensor, "B T C"], real: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B C"]:
        """real: false where a row is padded."""
        pooled = pool(hidden, real, self.pooling)
        return F.normalize(pooled, dim=-1) if self.normalised else pooled


Head = MaskedLanguageHead | SequenceHead | TokenHead | SpanHead | VectorHead


def build_head(body: Stack, head: HeadConfig) -> Head:
    """The head of that kind for a body's hidden vectors, its matrices not yet drawn."""
    config = body.config
    if head.kind == "masked":
        return MaskedLanguageHead(config, body)
    if head.kind == "sequence":
        return SequenceHead(config, head)
    if head.kind == "token":
        return TokenHead(config, head)
    return SpanHead(config) if head.kind == "span" else VectorHead(head)
