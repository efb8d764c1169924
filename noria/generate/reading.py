"""What an engine's model does in one step: the turns' tokens in, logits behind them out.

In: turns of sequences with blocks at hand. Out: a row of logits for each sequence that is read
whole, in the order of the turns; keys and values are in the blocks then.
This module does not know threads, streams or chance.
Legend: T new tokens of all turns, B sequences that are read whole, S tokens of a source, V
vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, final

import torch
from jaxtyping import Float
from torch import Tensor

from noria.generate.blocks import BlockPool
from noria.generate.fused.choice import fused
from noria.generate.kernels import RaggedStep, Span, store_source
from noria.generate.loaded import Adapter, LanguageModel
from noria.generate.schedule import Turn
from noria.generate.sequences import Sequence as Answer
from noria.model.masks import Rows
from noria.model.mixed import MixedDecoder, Part
from noria.model.transformer import Decoder, EncoderDecoder

if TYPE_CHECKING:
    from noria.generate.fused.decoder import FusedDecoder

# Sources are read together while no more than a quarter of the rectangle is padding.
MAX_PADDING = 0.25


@final
class Reader:
    """The base of an engine, for one thread."""

    def __init__(self, base: Decoder | EncoderDecoder) -> None:
        self._base = base
        self._mixed = MixedDecoder(base) if isinstance(base, Decoder) else None
        self._model = base if self._mixed is None else self._mixed.decoder
        stack = base if isinstance(base, Decoder) else base.decoder
        self._relative = stack.relative
        self.config = base.config
        first = next(base.parameters())  # a float one: integers are buffers
        self.dtype, self.device = first.dtype, first.device

    @property
    def has_sources(self) -> bool:
        """Whether it answers sources, whose blocks are beside those of the answers."""
        return isinstance(self._model, EncoderDecoder)

    @cached_property
    def _fused(self) -> FusedDecoder | None:
        """Made when a step first needs it: it takes the weights' bytes once more."""
        return fused(self._base)

    @torch.inference_mode()
    def read(self, turns: Sequence[Turn], pool: BlockPool) -> Float[Tensor, "B V"]:
        """Read the turns' tokens. Turns of one model stand side by side."""
        if isinstance(self._model, EncoderDecoder):
            self._read_sources(
                self._model, [one.sequence for one in turns if one.reads_source], pool
            )
        ids: list[int] = []
        spans, last_rows = [], []
        for turn in turns:
            one = turn.sequence
            end = one.num_read + turn.num_new
            ids += one.ids[one.num_read : end]
            source = len(one.source), one.source_blocks
            spans.append(Span(turn.num_new, one.num_read, one.blocks, *source))
            if end == len(one.ids):
                last_rows.append(len(ids) - 1)
        parts = _parts(turns)
        if not parts and self._fused is not None:
            return self._fused.read(ids, spans, last_rows, pool)
        if self._mixed is not None:
            self._mixed.mix(parts)
        step = RaggedStep(pool, spans, self._relative, self.config.attention.window_tokens)
        hidden = self._model.forward_ragged(torch.tensor([ids], device=self.device), step)[0]
        if not last_rows:
            return hidden.new_empty(0, self.config.vocab_size)
        if len(last_rows) < len(ids):
            hidden = hidden[torch.tensor(last_rows, device=self.device)]
        return self._model.logits(hidden).float().cpu()

    def _read_sources(
        self, model: EncoderDecoder, answers: Sequence[Answer], pool: BlockPool
    ) -> None:
        for together in _alike(answers):
            longest = max(len(one.source) for one in together)
            ids = torch.zeros(len(together), longest, dtype=torch.long)
            real = torch.zeros(len(together), longest, dtype=torch.bool)
            for row, one in enumerate(together):
                ids[row, : len(one.source)] = torch.tensor(one.source)
                real[row, : len(one.source)] = True
            rows = Rows() if bool(real.all()) else Rows(real=real.to(self.device))
            memory = model.encode(ids.to(self.device), rows)  # (B, S, C)
            for layer, (keys, values) in enumerate(model.sources(memory)):
                for row, one in enumerate(together):
                    read = keys[row, :, : len(one.source)], values[row, :, : len(one.source)]
                    store_source(pool, one.source_blocks, layer, *read)


def _alike(answers: Sequence[Answer]) -> list[list[Answer]]:
    """Answers in groups whose sources are of like length."""
    groups: list[list[Answer]] = []
    num_real = 0
    for one in sorted(answers, key=lambda one: len(one.source)):
        wider = (len(groups[-1]) + 1) * len(one.source) if groups else 0
        if not groups or num_real + len(one.source) < (1 - MAX_PADDING) * wider:
            groups.append([])
            num_real = 0
        groups[-1].append(one)
        num_real += len(one.source)
    return groups


def _parts(turns: Sequence[Turn]) -> tuple[Part, ...]:
    """Which tokens of a step are read with which adapter."""
    found: list[tuple[Adapter | None, int, int]] = []
    start = 0
    for turn in turns:
        model, end = turn.sequence.model, start + turn.num_new
        adapter = model.adapter if isinstance(model, LanguageModel) else None
        if found and found[-1][0] is adapter:
            found[-1] = (adapter, found[-1][1], end)
        else:
            found.append((adapter, start, end))
        start = end
    return tuple(
        Part(slice(start, end), adapter.updates)
        for adapter, start, end in found
        if adapter is not None
    )
