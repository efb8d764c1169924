"""What a model costs before it is built: parameters, arithmetic, memory.

In: a config. Out: counts. This module does not know torch; the formulas are those of
Kaplan et al. 2020 (section 2.1), with attention's own term and grouped keys and values.
"""

from __future__ import annotations

from noria.model.config import ModelConfig

# Floats kept for the backward pass per token and layer, in units of C (width) and F (ffn width):
# two norm inputs, two norm outputs, query, turned query, attention's result, and gate, silu, up,
# product in the feed-forward layer; keys and values come on top.
_KEPT_WIDTHS = 7
_KEPT_FFN_WIDTHS = 4
_FLOAT_BYTES = 4
_CHUNK_LOGITS = 3  # logits and their gradient, in two number types, of one chunk
CHUNK_TOKENS = 512  # of one piece of the loss; measured fastest on a CPU for 4,096 tokens' logits


def num_parameters(config: ModelConfig) -> int:
    """All trained numbers; a tied embedding counts once."""
    width = config.width
    attention = 2 * width * (width + config.kv_width)
    layer = attention + 3 * width * config.ffn_width + 2 * width
    tables = 1 if config.tied else 2
    return tables * config.vocab_size * width + config.num_layers * layer + width


def flops_per_token(config: ModelConfig, context_tokens: int | None = None) -> int:
    """Multiplications and additions of one token's forward pass; backward costs twice as many.

    Two for each weight of a matrix product (the embedding look-up is none, the scoring layer is
    one), and 4 · C for each of the tokens read, on average half of `context_tokens` (default:
    the model's context).
    """
    matrices = num_parameters(config) - (2 * config.num_layers + 1) * config.width
    if not config.tied:
        matrices -= config.vocab_size * config.width
    read_tokens = (config.context_tokens if context_tokens is None else context_tokens) // 2
    return 2 * matrices + 4 * config.num_layers * config.width * read_tokens


def training_memory_bytes(config: ModelConfig, micro_batch_tokens: int) -> int:
    """Bytes that training in float32 with AdamW needs, beside the program itself.

    Four numbers a parameter (weight, gradient, two moments), what the backward pass keeps of each
    token, and one chunk of logits.
    """
    kept = _KEPT_WIDTHS * config.width + 4 * config.kv_width + _KEPT_FFN_WIDTHS * config.ffn_width
    activations = micro_batch_tokens * (config.num_layers * kept + 3 * config.width)
    chunk = _CHUNK_LOGITS * min(CHUNK_TOKENS, micro_batch_tokens) * config.vocab_size
    return _FLOAT_BYTES * (4 * num_parameters(config) + activations + chunk)


def kv_cache_bytes(
    config: ModelConfig, num_tokens: int, batch_size: int = 1, number_bytes: int = _FLOAT_BYTES
) -> int:
    """Bytes of a cache for `batch_size` sequences of `num_tokens` tokens."""
    return 2 * config.num_layers * batch_size * num_tokens * config.kv_width * number_bytes
