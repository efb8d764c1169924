"""One frozen value for each concept of a Transformer: which of its known forms a model has.

In: names, switches and rates; the defaults are Llama's. Out: validated values, each read by the
file of its concept. This module does not know torch.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from noria.errors import UsageError

POSITION_KINDS = ("rotary", "sinusoidal", "learned", "relative", "none")
ROTARY_SCALINGS = ("none", "linear", "ntk")
NORM_KINDS = ("rms", "layer")
NORM_PLACES = ("before", "after")
ACTIVATIONS = ("silu", "relu", "gelu", "gelu-tanh")
LARGEST_COUNT = 1 << 48


def count(name: str, value: Any) -> None:
    """Raise UsageError unless the value is a whole number above 0."""
    if type(value) is not int or not 1 <= value <= LARGEST_COUNT:
        raise refuse(f"{name} = {value!r}", "a whole number above 0")


def above_zero(name: str, value: Any) -> None:
    """Raise UsageError unless the value is a finite number above 0."""
    if type(value) not in (int, float) or not 0 < value < float("inf"):
        raise refuse(f"{name} = {value!r}", "a number above 0")


def switch(name: str, value: Any) -> None:
    """Raise UsageError unless the value is true or false."""
    if type(value) is not bool:
        raise refuse(f"{name} = {value!r}", "true or false")


def one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    """Raise UsageError unless the value is one of those allowed."""
    if value not in allowed:
        raise refuse(f"{name} = {value!r}", f"one of {', '.join(allowed)}")


def refuse(given: str, expected: str) -> UsageError:
    """The error for a model that can't be."""
    return UsageError(f"a model with {given}", expected, "change the preset or the config")


@dataclass(frozen=True)
class Positions:
    """How a token knows where it stands: in its vector, in queries and keys, or in the scores.

    base, scaling, factor: of rotary positions; "linear" divides positions by the factor, "ntk"
    stretches the slow pairs by it. interleaved: sines and cosines of sinusoidal positions take
    turns, as in the paper; else sines fill the first half. buckets, distance_tokens: of T5's
    relative bias.
    """

    kind: str = "rotary"
    base: float = 10000.0
    scaling: str = "none"
    factor: float = 1.0
    interleaved: bool = True
    buckets: int = 32
    distance_tokens: int = 128

    def __post_init__(self) -> None:
        one_of("positions.kind", self.kind, POSITION_KINDS)
        one_of("positions.scaling", self.scaling, ROTARY_SCALINGS)
        above_zero("positions.base", self.base)
        above_zero("positions.factor", self.factor)
        switch("positions.interleaved", self.interleaved)
        count("positions.buckets", self.buckets)
        count("positions.distance_tokens", self.distance_tokens)
        if self.kind == "relative" and not 4 <= self.buckets < 2 * self.distance_tokens:
            raise refuse(
                f"{self.buckets} buckets for {self.distance_tokens} tokens of distance",
                "at least 4, and fewer than twice the distance",
            )


@dataclass(frozen=True)
class Norm:
    """Root mean square or layer norm, before each sublayer or after its sum."""

    kind: str = "rms"
    place: str = "before"
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        one_of("norm.kind", self.kind, NORM_KINDS)
        one_of("norm.place", self.place, NORM_PLACES)
        above_zero("norm.epsilon", self.epsilon)


@dataclass(frozen=True)
class AttentionStyle:
    """Biases, the scale 1 / sqrt(D), normed queries and keys, and how far back a token reads.

    window_tokens: 0 for no limit; else a token reads itself and those less than that many away.
    """

    bias: bool = False
    scaled: bool = True
    query_key_norm: bool = False
    window_tokens: int = 0

    def __post_init__(self) -> None:
        for name in ("bias", "scaled", "query_key_norm"):
            switch(f"attention.{name}", getattr(self, name))
        if type(self.window_tokens) is not int or not 0 <= self.window_tokens <= LARGEST_COUNT:
            raise refuse(f"attention.window_tokens = {self.window_tokens!r}", "0 or a number")


@dataclass(frozen=True)
class FeedForwardStyle:
    """The activation, and whether it gates a second matrix: gated SiLU is SwiGLU, GELU GeGLU."""

    activation: str = "silu"
    gated: bool = True
    bias: bool = False

    def __post_init__(self) -> None:
        one_of("feedforward.activation", self.activation, ACTIVATIONS)
        switch("feedforward.gated", self.gated)
        switch("feedforward.bias", self.bias)


@dataclass(frozen=True)
class EmbeddingStyle:
    """What surrounds the look-up: sqrt(C) on the way in, 1 / sqrt(C) on the way out, and more.

    num_segments: of BERT's sentence vectors, 0 for none. normed: the sum of all vectors is
    normalised before the first block. output_bias: the scores have a bias of their own.
    """

    scaled: bool = False
    output_scaled: bool = False
    num_segments: int = 0
    normed: bool = False
    output_bias: bool = False

    def __post_init__(self) -> None:
        for name in ("scaled", "output_scaled", "normed", "output_bias"):
            switch(f"embedding.{name}", getattr(self, name))
        if type(self.num_segments) is not int or not 0 <= self.num_segments <= 1 << 16:
            raise refuse(f"embedding.num_segments = {self.num_segments!r}", "0 or a small number")


@dataclass(frozen=True)
class Dropout:
    """Rates while training: of embeddings and sublayers, attention weights, the feed-forward's
    inner vectors, and what the stack gives out."""

    hidden: float = 0.0
    attention: float = 0.0
    activation: float = 0.0
    output: float = 0.0

    def __post_init__(self) -> None:
        for one in fields(self):
            rate = getattr(self, one.name)
            if type(rate) not in (int, float) or not 0 <= rate < 1:
                raise refuse(f"dropout.{one.name} = {rate!r}", "a rate from 0, below 1")
