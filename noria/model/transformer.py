"""The three families over one stack: token ids in, hidden vectors out, and from those the logits.

A decoder reads what came before, an encoder the whole row, an encoder-decoder a source with its
encoder and, from its decoder, what came before and the encoder's output.
This module does not know how weights are drawn, stored or trained.
Legend: B batch, T tokens, S tokens of a source, C width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from noria.errors import UsageError
from noria.model.cache import KVCache, RaggedCache
from noria.model.config import ModelConfig
from noria.model.embedding import OutputLayer, TokenEmbedding
from noria.model.init import initial_tensors
from noria.model.masks import NO_ROWS, WHOLE_SOURCE, Rows
from noria.model.stack import Stack


class Scoring:
    """What a decoder and an encoder-decoder share: hidden vectors to a score for each token."""

    config: ModelConfig
    embedding: TokenEmbedding
    head: OutputLayer | None
    head_bias: nn.Parameter | None

    def _lay_head(self, config: ModelConfig) -> None:
        self.head = None if config.tied else OutputLayer(config.width, config.vocab_size)
        biased = config.embedding.output_bias
        self.head_bias = nn.Parameter(torch.zeros(config.vocab_size)) if biased else None

    def logits(self, hidden: Float[Tensor, "... C"]) -> Float[Tensor, "... V"]:
        """A score for each token of the vocabulary."""
        hidden = self.before_output(hidden)
        scores = self.embedding.scores(hidden) if self.head is None else self.head(hidden)
        return scores if self.head_bias is None else scores + self.head_bias

    def before_output(self, hidden: Float[Tensor, "... C"]) -> Float[Tensor, "... C"]:
        """What is multiplied with the output matrix: T5's hidden vectors are scaled for it."""
        return hidden * self.config.width**-0.5 if self.config.embedding.output_scaled else hidden

    def output_weight(self) -> Float[Tensor, "V C"]:
        """The matrix that scores hidden vectors: the embedding when tied."""
        return self.embedding.floats() if self.head is None else self.head.floats()

    def output_bias(self) -> Float[Tensor, " V"] | None:
        """What is added to the scores, if anything is."""
        return self.head_bias


class Decoder(Stack, Scoring):
    """A stack that reads what came before, between an embedding and a scoring layer.

    `quantization` is None for float weights, or as `to_int8` of noria.model.quantized was told.
    """

    def __init__(self, config: ModelConfig) -> None:
        _expect(config, "decoder")
        embedding = TokenEmbedding(config.vocab_size, config.width)
        super().__init__(config, config.num_layers, causal=True, embedding=embedding)
        self.quantization: str | None = None
        self._lay_head(config)

    def forward(
        self, ids: Int[Tensor, "B T"], cache: KVCache | None = None, rows: Rows = NO_ROWS
    ) -> Float[Tensor, "B T C"]:
        """Hidden vectors, normalised, ready for `logits`.

        With a cache, ids follow the tokens that it holds, and are added to it; `rows` then tells
        of all tokens so far. Raises UsageError if the sequence would be longer than the context.
        """
        return self.read(_embedded(self.embedding, ids, self.config), rows, cache)

    def forward_ragged(self, ids: Int[Tensor, "1 T"], cache: RaggedCache) -> Float[Tensor, "1 T C"]:
        """As `forward`, of the next tokens of several sequences, one behind the other."""
        return self.read_ragged(_embedded(self.embedding, ids, self.config), cache)


class Encoder(Stack):
    """A stack that reads the whole row, after an embedding; heads say what its output is for."""

    def __init__(self, config: ModelConfig) -> None:
        _expect(config, "encoder")
        embedding = TokenEmbedding(config.vocab_size, config.width)
        super().__init__(config, config.num_layers, causal=False, embedding=embedding)
        self.quantization: str | None = None
        num_segments = config.embedding.num_segments
        self.segments = TokenEmbedding(num_segments, config.width) if num_segments else None

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        rows: Rows = NO_ROWS,
        segments: Int[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Hidden vectors. segments: which of BERT's sentences a token is in; all in the first.

        Raises UsageError if the sequence is longer than the context.
        """
        x = _embedded(self.embedding, ids, self.config)
        if self.segments is not None:
            x = x + self.segments(torch.zeros_like(ids) if segments is None else segments)
        return self.read(x, rows)


class EncoderDecoder(nn.Module, Scoring):
    """An encoder for the source and a decoder for the target, over one embedding."""

    def __init__(self, config: ModelConfig) -> None:
        _expect(config, "encoder-decoder")
        super().__init__()
        self.config = config
        self.quantization: str | None = None
        self.embedding = TokenEmbedding(config.vocab_size, config.width)
        self.encoder = Stack(config, config.num_encoder_layers, causal=False)
        self.decoder = Stack(config, config.num_layers, causal=True, crosses=True)
        self._lay_head(config)

    def encode(
        self, source_ids: Int[Tensor, "B S"], source: Rows = NO_ROWS
    ) -> Float[Tensor, "B S C"]:
        """The encoder's output, which the decoder reads. Raises UsageError for a long source."""
        return self.encoder.read(_embedded(self.embedding, source_ids, self.config), source)

    def decode(
        self,
        ids: Int[Tensor, "B T"],
        memory: Float[Tensor, "B S C"],
        source_real: Bool[Tensor, "B S"] | None = None,
        cache: KVCache | None = None,
        rows: Rows = NO_ROWS,
    ) -> Float[Tensor, "B T C"]:
        """Hidden vectors of the target, ready for `logits`; source_real is false where padded.

        With a cache, ids follow the tokens that it holds, and the encoder's keys and values are
        computed once. Raises UsageError if the target would be longer than the context.
        """
        mask = None if source_real is None else source_real[:, None, None, :]
        crossing = WHOLE_SOURCE._replace(mask=mask)
        x = _embedded(self.embedding, ids, self.config)
        return self.decoder.read(x, rows, cache, (memory, crossing))

    def forward_ragged(self, ids: Int[Tensor, "1 T"], cache: RaggedCache) -> Float[Tensor, "1 T C"]:
        """As `decode`, of the next tokens of several targets, one behind the other."""
        return self.decoder.read_ragged(_embedded(self.embedding, ids, self.config), cache)

    def sources(
        self, memory: Float[Tensor, "B S C"]
    ) -> Iterator[tuple[Float[Tensor, "B K S D"], Float[Tensor, "B K S D"]]]:
        """The encoder's output as keys and values of each layer of the decoder, in order."""
        for block in self.decoder.blocks:
            yield block.cross_attention.source(memory, WHOLE_SOURCE)  # type: ignore[union-attr,operator]

    def forward(
        self,
        source_ids: Int[Tensor, "B S"],
        ids: Int[Tensor, "B T"],
        source_real: Bool[Tensor, "B S"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Both in one pass, as for training."""
        memory = self.encode(source_ids, Rows(real=source_real))
        return self.decode(ids, memory, source_real)


Transformer = Decoder | Encoder | EncoderDecoder
ModelT = TypeVar("ModelT", bound=Decoder | Encoder | EncoderDecoder)
_FAMILIES: dict[str, type[Transformer]] = {
    "decoder": Decoder,
    "encoder": Encoder,
    "encoder-decoder": EncoderDecoder,
}


def _embedded(
    embedding: nn.Module, ids: Int[Tensor, "B T"], config: ModelConfig
) -> Float[Tensor, "B T C"]:
    """Token vectors, times sqrt(C) where the config says so (Vaswani et al. 2017, section 3.4)."""
    x: Tensor = embedding(ids)
    return x * config.width**0.5 if config.embedding.scaled else x


def _expect(config: ModelConfig, family: str) -> None:
    if config.family != family:
        raise UsageError(
            f"a config of family {config.family!r}", f"{family!r}", "build it by `build_model`"
        )


def empty_model(config: ModelConfig) -> Transformer:
    """A model on torch's meta device: names and shapes, no memory for weights."""
    with torch.device("meta"):
        return _FAMILIES[config.family](config)


def fill_model(model: ModelT, tensors: dict[str, Tensor]) -> ModelT:
    """Give an empty model its weights, which it then owns; names and shapes must match."""
    model.load_state_dict(tensors, strict=True, assign=True)
    return model


def build_model(config: ModelConfig, seed: int) -> Transformer:
    """A model with fresh weights that depend on the config and the seed alone."""
    return fill_model(empty_model(config), initial_tensors(config, seed))


def empty_decoder(config: ModelConfig) -> Decoder:
    """As `empty_model`, of a config that must be a decoder's."""
    with torch.device("meta"):
        return Decoder(config)


def build_decoder(config: ModelConfig, seed: int) -> Decoder:
    """As `build_model`, of a config that must be a decoder's."""
    return fill_model(empty_decoder(config), initial_tensors(config, seed))
