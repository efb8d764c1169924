"""The decoder: token ids in, hidden vectors out, and from those the logits.

Its semantics are Llama's: pre-norm RMSNorm, rotary positions in halves, SwiGLU, no biases.
This module does not know how weights are drawn, stored or trained.
Legend: B batch, T tokens, C width, D head width, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from noria.errors import UsageError
from noria.model.block import Block
from noria.model.cache import KVCache
from noria.model.config import ModelConfig
from noria.model.embedding import TokenEmbedding
from noria.model.init import initial_tensors
from noria.model.norm import RMSNorm
from noria.model.positions import rotary_table


class Decoder(nn.Module):
    """A stack of blocks between an embedding and a scoring layer.

    `quantization` is None for float weights, "int8" after noria.model.quantized has been at it.
    """

    rotary_cos: Tensor
    rotary_sin: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.quantization: str | None = None
        self.embedding = TokenEmbedding(config.vocab_size, config.width)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.num_layers))
        self.final_norm = RMSNorm(config.width, config.norm_epsilon)
        head = nn.Linear(config.width, config.vocab_size, bias=False)
        self.head = None if config.tied else head
        cos, sin = rotary_table(config.context_tokens, config.head_width, config.rope_base)
        self.register_buffer("rotary_cos", cos[:, None], persistent=False)  # (S, 1, D/2)
        self.register_buffer("rotary_sin", sin[:, None], persistent=False)

    def forward(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """ids: (B, T) int64 -> hidden (B, T, C), normalised, ready for `logits`.

        With a cache, ids follow the tokens that it holds, and are added to it.
        Raises UsageError if the sequence would be longer than the context.
        """
        start = cache.length if cache is not None else 0
        end = start + ids.shape[1]
        if end > self.config.context_tokens:
            raise UsageError(
                f"a sequence of {end} tokens",
                f"at most {self.config.context_tokens}, the model's context",
                "shorten the text, or train with a larger context_tokens",
            )
        cos, sin = self.rotary_cos[start:end], self.rotary_sin[start:end]  # (T, 1, D/2)
        x = self.embedding(ids)  # (B, T, C)
        for block in self.blocks:
            x = block(x, cos, sin, cache)
        if cache is not None:
            cache.advance(ids.shape[1])
        return self.final_norm(x)  # type: ignore[no-any-return]

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, C) -> (…, V): a score for each token of the vocabulary."""
        if self.head is None:
            return self.embedding.scores(hidden)
        return self.head(hidden)  # type: ignore[no-any-return]

    def output_weight(self) -> Tensor:
        """The (V, C) matrix that scores hidden vectors: the embedding when tied."""
        return self.embedding.weight if self.head is None else self.head.weight


def empty_model(config: ModelConfig) -> Decoder:
    """A decoder on torch's meta device: names and shapes, no memory for weights."""
    with torch.device("meta"):
        return Decoder(config)


def fill_model(model: Decoder, tensors: dict[str, Tensor]) -> Decoder:
    """Give an empty model its weights, which it then owns; names and shapes must match."""
    model.load_state_dict(tensors, strict=True, assign=True)
    return model


def build_model(config: ModelConfig, seed: int) -> Decoder:
    """A decoder with fresh weights that depend on the config and the seed alone."""
    model = empty_model(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    return fill_model(model, initial_tensors(shapes, config.num_layers, seed))
