"""What a model costs before it is built: parameters, arithmetic, memory.

In: a config, and how many tokens of how many rows a pass computes. Out: counts, and bytes.
Arithmetic is that of Kaplan et al. 2020 (section 2.1), with attention's own term and grouped keys
and values; memory follows what each formula's derivative needs (Korthikanti et al. 2022, section 4,
here for torch's own layers). This module does not know torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod

from noria.errors import UsageError
from noria.model.config import ModelConfig
from noria.model.shapes import Shape, block_shapes, tensor_shapes

NUMBER_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1}
# numbers that an optimizer remembers of each that it changes; of adafactor see `optimizer_bytes`
MOMENTS = {"adamw": 2, "adam": 2, "muon": 2, "sgd": 1, "adafactor": 1}
CHUNK_TOKENS = 512  # of one piece of the loss; measured fastest on a CPU for 4,096 tokens' logits
CHUNK_NUMBERS = 2**23  # logits of a piece at most: fewer tokens of a vocabulary above 16,384
_FLOAT_BYTES = 4
_BACKWARD = 2  # each product has two derivatives, by either factor, and each is a product as large


@dataclass(frozen=True)
class BatchShape:
    """The rows of one pass: how many, how long, how long their sources are in an encoder-decoder.

    padded: whether they have a mask, of which torch's attention keeps a table of numbers a layer.
    """

    num_rows: int
    num_tokens: int
    num_source_tokens: int = 0
    padded: bool = False


def num_parameters(config: ModelConfig) -> int:
    """All trained numbers; a tied embedding counts once."""
    return _total(config, _count)


def num_adapter_parameters(config: ModelConfig, rank: int, layers: Iterable[str]) -> int:
    """Numbers of a low-rank update to these layers of every block, such as "attention.query".

    rank · (rows + columns) each (Hu et al. 2021, section 4.1).
    """
    shapes = block_shapes(config, crosses=False)
    return config.num_layers * sum(rank * sum(shapes[f"{layer}.weight"]) for layer in layers)


def forward_flops(config: ModelConfig, num_tokens: int, num_source_tokens: int = 0) -> int:
    """Multiplications and additions of one sequence's forward pass; backward costs twice as many.

    Two for each weight of a matrix product and token (the embedding look-up is none, the scoring
    layer is one), and 4 · heads · head width for each pair of a query and a key that it reads.
    An encoder-decoder reads `num_source_tokens` with its encoder.
    """
    sources = num_source_tokens if config.family == "encoder-decoder" else 0
    block = _matrices(block_shapes(config, crosses=False))
    pairs = _pairs(config, num_tokens, causal=config.family != "encoder")
    flops = config.num_layers * (2 * block * num_tokens + _pair_flops(config) * pairs)
    if sources:
        pairs = _pairs(config, sources, causal=False)
        flops += config.num_encoder_layers * (2 * block * sources + _pair_flops(config) * pairs)
        asking = 2 * config.query_width * config.width * num_tokens
        read = 2 * config.kv_width * config.width * sources
        crossing = 2 * (asking + read) + _pair_flops(config) * num_tokens * sources
        flops += config.num_layers * crossing
    if config.family != "encoder":
        flops += 2 * config.vocab_size * config.width * num_tokens
    return flops


def training_flops(
    config: ModelConfig, num_tokens: int, num_source_tokens: int = 0, *, frozen: bool = False
) -> int:
    """As `forward_flops`, of forward and backward pass together: three times as many.

    Twice as many where the weights are frozen under an adapter, whose own few are not counted.
    """
    passes = 1 + (_BACKWARD - 1 if frozen else _BACKWARD)
    return passes * forward_flops(config, num_tokens, num_source_tokens)


def flops_per_token(config: ModelConfig, context_tokens: int | None = None) -> int:
    """A token's share of `forward_flops` over a sequence that fills the context, or is so long.

    An encoder-decoder's source is as long as its target.
    """
    num_tokens = context_tokens or config.context_tokens
    return forward_flops(config, num_tokens, num_tokens) // num_tokens


def weight_bytes(config: ModelConfig, number_type: str = "float32") -> int:
    """Bytes of all weights as float32, bfloat16, float16 or int8.

    With int8, matrices are a byte a number and four a row for its scale; norms, biases and T5's
    relative positions stay float32. Raises UsageError for another type.
    """
    if number_type not in NUMBER_BYTES:
        raise UsageError(
            f"weights of {number_type!r}", ", ".join(NUMBER_BYTES), "choose one of these types"
        )
    if number_type == "int8":
        return _total(config, _int8_bytes)
    return NUMBER_BYTES[number_type] * num_parameters(config)


def optimizer_bytes(
    config: ModelConfig, optimizer: str = "adamw", num_trained_parameters: int | None = None
) -> int:
    """Bytes that an optimizer remembers between steps, float32; all parameters train if not said.

    Adam and AdamW two moments a number; Muon one for matrices inside blocks, else as AdamW; SGD its
    momentum; Adafactor a number for each row and each column of a matrix. If fewer than all train,
    Muon's share of them is as if they were inside blocks, where adapters are, and Adafactor's an
    upper bound. Raises UsageError for another optimizer.
    """
    if optimizer not in MOMENTS:
        raise UsageError(f"the optimizer {optimizer!r}", ", ".join(MOMENTS), "choose one")
    total = num_parameters(config)
    trained = total if num_trained_parameters is None else num_trained_parameters
    if optimizer == "adafactor" and trained == total:
        return _FLOAT_BYTES * _total(config, _rows_and_columns)
    inside = _total(config, _matrices) - _matrices(tensor_shapes(config, with_blocks=False))
    with_one_moment = min(trained, inside) if optimizer == "muon" else 0
    return _FLOAT_BYTES * (MOMENTS[optimizer] * trained - with_one_moment)


def activation_bytes(config: ModelConfig, batch: BatchShape) -> int:
    """Bytes that the layers keep of a batch for the backward pass in float32, dropout included.

    They end with the hidden vectors; the loss, or an encoder's head, comes on top.
    """
    kept = _kept_by_stack(config, config.num_layers, batch, batch.num_tokens)
    if config.family == "encoder-decoder":
        source = batch.num_source_tokens
        kept += _kept_by_stack(config, config.num_encoder_layers, batch, source)
        kept += config.num_layers * batch.num_rows * _kept_by_crossing(config, batch)
    return _FLOAT_BYTES * kept


def training_memory_bytes(
    config: ModelConfig,
    batch: BatchShape,
    *,
    optimizer: str = "adamw",
    num_trained_parameters: int | None = None,
) -> int:
    """Bytes at the peak of training in float32, beside the program itself.

    Weights, gradients, the optimizer's memory, what layers keep of one micro-batch, and the
    larger of what the loss holds at a time and what the backward pass does. A step is taken to
    have several micro-batches, so that gradients are there all along. If fewer parameters train
    than all, the others have no gradient; what layers keep is then an upper bound.
    """
    total = num_parameters(config)
    trained = total if num_trained_parameters is None else num_trained_parameters
    fixed = weight_bytes(config) + _FLOAT_BYTES * trained
    fixed += optimizer_bytes(config, optimizer, trained)
    passing = max(_loss_numbers(config, batch, trained == total), _backward_numbers(config, batch))
    return fixed + activation_bytes(config, batch) + _FLOAT_BYTES * passing


def kv_cache_bytes(
    config: ModelConfig, num_tokens: int, batch_size: int = 1, number_bytes: int = _FLOAT_BYTES
) -> int:
    """Bytes of a cache for `batch_size` sequences of `num_tokens` tokens."""
    return 2 * config.num_layers * batch_size * num_tokens * config.kv_width * number_bytes


def _kept_by_stack(config: ModelConfig, num_layers: int, batch: BatchShape, num_tokens: int) -> int:
    """Numbers that blocks keep of all rows, with what stands before and after them."""
    norm, noise = _norm_widths(config), int(config.dropout.hidden > 0)
    ends = noise + int(config.dropout.output > 0) + 1  # the output itself
    ends += norm * (int(config.embedding.normed) + int(config.norm.place == "before"))
    sublayers = 2 * (norm + 1 + noise)
    token = config.width * (ends + num_layers * sublayers)
    token += num_layers * _kept_by_feedforward(config)
    row = num_layers * _kept_by_attention(config, num_tokens, num_tokens) + num_tokens * token
    table = 0 if _writes_weights(config, crosses=False) else num_layers * num_tokens**2
    # Which bias each pair looks up: a 64-bit number, once for all rows and layers.
    kept = 2 * num_tokens**2 if config.positions.kind == "relative" else 0
    if batch.padded:
        return kept + batch.num_rows * (row + table)
    windowed = 0 < config.attention.window_tokens < num_tokens
    return kept + batch.num_rows * row + (table if windowed else 0)


def _kept_by_crossing(config: ModelConfig, batch: BatchShape) -> int:
    """Numbers that one layer's cross-attention keeps of a row."""
    width = _norm_widths(config) + 1 + int(config.dropout.hidden > 0)
    kept = _kept_by_attention(config, batch.num_tokens, batch.num_source_tokens, crosses=True)
    return batch.num_tokens * width * config.width + kept


def _norm_widths(config: ModelConfig) -> int:
    """Vectors that a norm keeps beside its output: its input; torch's RMSNorm the quotient too."""
    return 2 if config.norm.kind == "rms" else 1


def _kept_by_attention(
    config: ModelConfig, num_tokens: int, num_read: int, *, crosses: bool = False
) -> int:
    """Numbers of one attention and row: queries, keys, values (of all heads), the result.

    torch's fused kernel keeps a number a head and token, to compute the weights anew. Without it
    the weights are kept as a table, and with dropout its noise and what it leaves of them.
    """
    heads, tables = config.num_heads, 3 if config.dropout.attention > 0 else 1
    kept = 2 * config.query_width * (num_tokens + num_read)
    if config.attention.query_key_norm:
        kept += 2 * (config.query_width * num_tokens + config.kv_width * num_read)
    if _writes_weights(config, crosses=crosses):
        return kept + tables * heads * num_tokens * num_read
    return kept + heads * num_tokens


def _writes_weights(config: ModelConfig, *, crosses: bool) -> bool:
    """Whether torch has no fused kernel on a CPU: with dropout, or a bias that learns."""
    biased = config.positions.kind == "relative" and not crosses
    return config.dropout.attention > 0 or biased


def _kept_by_feedforward(config: ModelConfig) -> int:
    """Numbers of one feed-forward layer and token.

    What enters the activation and what leaves it (of ReLU the latter alone), a gated layer's other
    factor and the product; dropout's noise, and what it leaves of vectors that are kept anyway.
    """
    style, dropped = config.feedforward, config.dropout.activation > 0
    rectified = style.activation == "relu"
    widths = (1 if rectified else 2) + (2 if style.gated else 0)
    if dropped:
        widths += 2 if rectified and not style.gated else 1
    return widths * config.ffn_width


def chunk_tokens(vocab_size: int) -> int:
    """How many tokens' logits exist at a time in the loss."""
    return max(1, min(CHUNK_TOKENS, CHUNK_NUMBERS // vocab_size))


def _loss_numbers(config: ModelConfig, batch: BatchShape, trains_output: bool) -> int:
    """What the chunked loss holds: hidden vectors and their gradient, and at a time either the
    output matrix's gradient with what is added to it and one chunk of scores, or two chunks."""
    if config.family == "encoder":
        return 0
    num_tokens = batch.num_rows * batch.num_tokens
    matrix = config.vocab_size * config.width if trains_output else 0
    num_chunk = chunk_tokens(config.vocab_size)
    chunk = min(num_chunk, num_tokens) * config.vocab_size
    before = chunk if num_tokens > num_chunk else 0
    return 2 * config.width * num_tokens + matrix + chunk + max(matrix, before)


def _backward_numbers(config: ModelConfig, batch: BatchShape) -> int:
    """What a block's backward pass holds at a time beside what was kept: slopes of its widest."""
    rows, num_tokens = batch.num_rows, max(batch.num_tokens, batch.num_source_tokens)
    slopes = rows * num_tokens * (3 * config.ffn_width + config.width)
    tables = 0
    if _writes_weights(config, crosses=False):
        tables = 2 * rows * config.num_heads * num_tokens**2
    return max(slopes, tables)


def _pairs(config: ModelConfig, num_tokens: int, *, causal: bool) -> int:
    """How many pairs of a query and a key that it reads a sequence has."""
    window = config.attention.window_tokens or num_tokens
    near = min(window, num_tokens)
    half = near * (near + 1) // 2 + (num_tokens - near) * near  # itself and those before
    return half if causal else 2 * half - num_tokens


def _pair_flops(config: ModelConfig) -> int:
    return 4 * config.query_width


def _total(config: ModelConfig, measure: Callable[[Mapping[str, Shape]], int]) -> int:
    """A sum over all tensors, without listing each layer's."""
    total = measure(tensor_shapes(config, with_blocks=False))
    total += config.num_encoder_layers * measure(block_shapes(config, crosses=False))
    crosses = config.family == "encoder-decoder"
    return total + config.num_layers * measure(block_shapes(config, crosses=crosses))


def _count(shapes: Mapping[str, Shape]) -> int:
    return sum(prod(shape) for shape in shapes.values())


def _matrices(shapes: Mapping[str, Shape]) -> int:
    return sum(prod(shape) for shape in shapes.values() if len(shape) == 2)


def _rows_and_columns(shapes: Mapping[str, Shape]) -> int:
    return sum(sum(shape) for shape in shapes.values())


def _int8_bytes(shapes: Mapping[str, Shape]) -> int:
    """A byte a number and a scale a row of what noria.model.quantized replaces."""
    total = 0
    for name, shape in shapes.items():
        rounded = len(shape) == 2 and not name.endswith("relative.weight")
        scales = _FLOAT_BYTES * shape[0] if rounded else 0
        total += prod(shape) * (1 if rounded else _FLOAT_BYTES) + scales
    return total
