"""The body of every family: positions, blocks, final norm.

In: embedded tokens, and what is known of their rows. Out: a hidden vector for each.
Legend: B batch, T new tokens, S all tokens so far, C width, D head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from noria.errors import UsageError
from noria.model.block import Block
from noria.model.cache import KVCache, RaggedCache
from noria.model.config import ModelConfig
from noria.model.embedding import TokenEmbedding
from noria.model.masks import NO_ROWS, Reading, Rows, readable
from noria.model.norm import build_norm
from noria.model.positions import places_in_documents, sinusoidal_table
from noria.model.relative import RelativeBias
from noria.model.rotary import rotary_table


class Stack(nn.Module):
    """Blocks, with what comes before the first and after the last.

    causal: whether a token reads only itself and those before it. crosses: whether its blocks read
    an encoder's output too. embedding: the model's own, where this stack is all of its body; it is
    the first of the weights.
    """

    rotary_cos: Tensor
    rotary_sin: Tensor
    sinusoids: Tensor

    def __init__(
        self,
        config: ModelConfig,
        num_layers: int,
        *,
        causal: bool,
        crosses: bool = False,
        embedding: TokenEmbedding | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.causal = causal
        if embedding is not None:
            self.embedding = embedding
        self.positions: TokenEmbedding | None = None
        self.relative: RelativeBias | None = None
        self._lay_positions(config, causal)
        self.embedding_norm = build_norm(config) if config.embedding.normed else None
        blocks = (Block(config, layer, crosses=crosses) for layer in range(num_layers))
        self.blocks = nn.ModuleList(blocks)
        self.final_norm = build_norm(config) if config.norm.place == "before" else None

    def _lay_positions(self, config: ModelConfig, causal: bool) -> None:
        style, num_tokens = config.positions, config.context_tokens
        if style.kind == "rotary":
            cos, sin = rotary_table(num_tokens, config.head_width, style)
            self.register_buffer("rotary_cos", cos[:, None], persistent=False)  # (S, 1, D/2)
            self.register_buffer("rotary_sin", sin[:, None], persistent=False)
        elif style.kind == "sinusoidal":
            table = sinusoidal_table(num_tokens, config.width, interleaved=style.interleaved)
            self.register_buffer("sinusoids", table, persistent=False)  # (S, C)
        elif style.kind == "learned":
            self.positions = TokenEmbedding(num_tokens, config.width)
        elif style.kind == "relative":
            self.relative = RelativeBias(style, config.num_heads, causal=causal)

    def read(
        self,
        x: Float[Tensor, "B T C"],
        rows: Rows = NO_ROWS,
        cache: KVCache | None = None,
        memory: tuple[Float[Tensor, "B S C"], Reading] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Embedded tokens -> hidden vectors. With a cache, they follow the tokens that it holds.

        Raises UsageError if the sequence would be longer than the context.
        """
        num_new = x.shape[1]
        start = cache.length if cache is not None else 0
        end = start + num_new
        if end > self.config.context_tokens:
            raise UsageError(
                f"a sequence of {end} tokens",
                f"at most {self.config.context_tokens}, the model's context",
                "shorten the text, or train with a larger context_tokens",
            )
        places = (
            None if rows.documents is None else places_in_documents(rows.documents)[:, -num_new:]
        )
        reading = self._reading(start, end, places, rows, x.device)
        x = self._placed(x, start, end, places)
        for block in self.blocks:
            x = block(x, reading, cache, memory)
        if cache is not None:
            cache.advance(num_new)
        return self._finished(x)

    def read_ragged(self, x: Float[Tensor, "1 T C"], cache: RaggedCache) -> Float[Tensor, "1 T C"]:
        """As `read`, of the new tokens of several sequences; the cache knows whose they are.

        No place may be beyond the context.
        """
        reading = Reading(self._rotation(cache.places), None, None, self.causal)
        x = self._placed(x, 0, 0, cache.places)
        for block in self.blocks:
            x = block(x, reading, cache)
        return self._finished(x)

    def _finished(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        if self.final_norm is not None:
            x = self.final_norm(x)
        return F.dropout(x, self.config.dropout.output, self.training)

    def _placed(
        self, x: Float[Tensor, "B T C"], start: int, end: int, places: Int[Tensor, "B T"] | None
    ) -> Float[Tensor, "B T C"]:
        """What enters the first block: the token's vector, its place's, normed, dropped out."""
        at = torch.arange(start, end, device=x.device)[None] if places is None else places
        if self.positions is not None:
            x = x + self.positions(at)
        elif self.config.positions.kind == "sinusoidal":
            x = x + self.sinusoids[at].to(x.dtype)
        if self.embedding_norm is not None:
            x = self.embedding_norm(x)
        return F.dropout(x, self.config.dropout.hidden, self.training)

    def _reading(
        self,
        start: int,
        end: int,
        places: Int[Tensor, "B T"] | None,
        rows: Rows,
        device: torch.device,
    ) -> Reading:
        mask = readable(
            end - start,
            end,
            rows,
            device,
            causal=self.causal,
            window_tokens=self.config.attention.window_tokens,
        )
        bias = None
        if self.relative is not None:
            all_places = torch.arange(end, device=device)[None]
            bias = self.relative(all_places[:, start:], all_places)
        rotation = self._rotation(slice(start, end) if places is None else places)
        return Reading(rotation, mask, bias, self.causal)

    def _rotation(self, places: Int[Tensor, "B T"] | slice) -> tuple[Tensor, Tensor] | None:
        """Cosines and sines, (B or 1, T, 1, D/2) each."""
        if self.config.positions.kind != "rotary":
            return None
        cos, sin = self.rotary_cos[places], self.rotary_sin[places]
        return (cos[None], sin[None]) if isinstance(places, slice) else (cos, sin)
