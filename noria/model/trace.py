"""A look inside: attention weights, hidden vectors and each layer's guess, of one pass.

In: a model and ids. Out: what its layers computed on the way. The model itself knows nothing of
this: hooks are set for one pass and taken away again, and the weights, which torch's fused
attention never stores, are computed a second time from the same queries and keys.
Legend: B batch, T tokens, S tokens that are read, C width, H heads, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from noria.errors import UsageError
from noria.model.attention import Attention, attention_weights
from noria.model.block import Block
from noria.model.likelihood import Scores
from noria.model.masks import NO_ROWS, Reading, Rows
from noria.model.stack import Stack
from noria.model.transformer import Encoder, EncoderDecoder, Transformer


@dataclass(frozen=True)
class StackTrace:
    """What one stack computed.

    hidden: what enters the first block, and what leaves each: one more than there are layers.
    finished: the same with the stack's final norm, if it has one; the last is its output.
    attention: each layer's weights, which sum to 1 over S. cross_attention: those over an
    encoder's output, of a decoder that reads one.
    """

    hidden: tuple[Float[Tensor, "B T C"], ...]
    finished: tuple[Float[Tensor, "B T C"], ...]
    attention: tuple[Float[Tensor, "B H T T"], ...]
    cross_attention: tuple[Float[Tensor, "B H T S"], ...]


@dataclass(frozen=True)
class Trace:
    """stack: what gave the output. encoder: what that read, in an encoder-decoder."""

    stack: StackTrace
    encoder: StackTrace | None = None


def trace(
    model: Transformer,
    ids: Int[Tensor, "B T"],
    *,
    rows: Rows = NO_ROWS,
    source_ids: Int[Tensor, "B S"] | None = None,
    source_real: Bool[Tensor, "B S"] | None = None,
    segments: Int[Tensor, "B T"] | None = None,
) -> Trace:
    """One pass without dropout or gradients, and all that its layers computed.

    rows: of ids. source_ids, source_real: of an encoder-decoder, which needs them. segments: of an
    encoder. Raises UsageError for what this family does not read, and for too long a sequence.
    """
    crosses = isinstance(model, EncoderDecoder)
    if crosses != (source_ids is not None) or (source_real is not None and not crosses):
        raise _refuse(model, "a source" if source_ids is not None else "no source")
    if segments is not None and not isinstance(model, Encoder):
        raise _refuse(model, "segments")
    with torch.no_grad(), _evaluating(model):
        if isinstance(model, EncoderDecoder):
            assert source_ids is not None
            with _watching(model.encoder) as seen:
                memory = model.encode(source_ids, Rows(real=source_real))
            encoder = seen.result(model.encoder)
            with _watching(model.decoder) as seen:
                model.decode(ids, memory, source_real, rows=rows)
            return Trace(seen.result(model.decoder), encoder)
        with _watching(model) as seen:
            if isinstance(model, Encoder):
                model(ids, rows=rows, segments=segments)
            else:
                model(ids, rows=rows)
        return Trace(seen.result(model))


def layer_logits(scores: Scores, traced: StackTrace) -> tuple[Float[Tensor, "B T V"], ...]:
    """What each layer would say if it were the last: the "logit lens" (nostalgebraist 2020).

    scores: the model, or a masked language head over it. One more than there are layers: the first
    is what the embedding alone says, the last what the model says.
    """
    with torch.no_grad():
        return tuple(scores.logits(hidden) for hidden in traced.finished)


@dataclass
class _Seen:
    """What hooks have noted so far."""

    hidden: list[Tensor] = field(default_factory=list)
    attention: list[Tensor] = field(default_factory=list)
    cross_attention: list[Tensor] = field(default_factory=list)
    asking: Tensor | None = None  # what the cross-attention of the present block asks with

    def self_attention(self, attention: Attention, args: tuple[Any, ...], _: Tensor) -> None:
        x, reading = args[:2]
        self.attention.append(_weights(attention, x, x, reading))

    def before_crossing(self, _: nn.Module, __: tuple[Any, ...], output: Tensor) -> None:
        self.asking = output

    def block(self, block: Block, args: tuple[Any, ...], output: Tensor) -> None:
        x, _, _, memory = args
        self.hidden += [output] if self.hidden else [x, output]
        if block.cross_attention is not None and self.asking is not None:
            weights = _weights(block.cross_attention, self.asking, *memory)
            self.cross_attention.append(weights)

    def result(self, stack: Stack) -> StackTrace:
        norm = stack.final_norm
        finished = self.hidden if norm is None else [norm(x) for x in self.hidden]
        parts = (self.hidden, finished, self.attention, self.cross_attention)
        return StackTrace(*(tuple(part) for part in parts))


def _weights(attention: Attention, x: Tensor, read: Tensor, reading: Reading) -> Tensor:
    """(B, T, C), (B, S, C) -> (B, H, T, S)."""
    keys = attention.keys(read, reading)  # (B, K, S, D)
    keys = keys.repeat_interleave(attention.num_heads // attention.num_kv_heads, dim=1)
    return attention_weights(attention.queries(x, reading), keys, reading, attention.scale)


@contextmanager
def _watching(stack: Stack) -> Iterator[_Seen]:
    """Hooks on every block of a stack, for as long as this lasts."""
    seen, handles = _Seen(), []
    for block in stack.blocks:
        assert isinstance(block, Block)
        handles.append(block.register_forward_hook(seen.block))
        handles.append(block.attention.register_forward_hook(seen.self_attention))
        asking = block.cross_attention_norm if block.before else block.attention_norm
        if asking is not None:
            handles.append(asking.register_forward_hook(seen.before_crossing))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """No dropout meanwhile; every module's mode is as before in the end."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _refuse(model: Transformer, given: str) -> UsageError:
    family = model.config.family
    expected = "a source for an encoder-decoder alone, segments for an encoder alone"
    return UsageError(f"{given} for a model of family {family!r}", expected, "change the call")
