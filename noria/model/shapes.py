"""What tensors a config asks for: names and shapes, known before any of them is built or read.

In: a config. Out: every tensor of a float model. The rest of the folder agrees with it; a test
compares it with the built models. This module does not know torch.
"""

from __future__ import annotations

from noria.model.config import ModelConfig

Shape = tuple[int, ...]


def tensor_shapes(config: ModelConfig, *, with_blocks: bool = True) -> dict[str, Shape]:
    """Name and shape of every tensor of a float model, in the order in which data meets them."""
    num_layers = config.num_layers if with_blocks else 0
    num_encoder_layers = config.num_encoder_layers if with_blocks else 0
    width, vocab_size = config.width, config.vocab_size
    shapes: dict[str, Shape] = {"embedding.weight": (vocab_size, width)}
    if config.embedding.num_segments:
        shapes["segments.weight"] = (config.embedding.num_segments, width)
    if config.family == "encoder-decoder":
        shapes |= _stack(config, num_encoder_layers, "encoder.", crosses=False)
        shapes |= _stack(config, num_layers, "decoder.", crosses=True)
    else:
        shapes |= _stack(config, num_layers, "", crosses=False)
    if config.family != "encoder" and not config.tied:
        shapes["head.weight"] = (vocab_size, width)
    if config.family != "encoder" and config.embedding.output_bias:
        shapes["head_bias"] = (vocab_size,)
    return shapes


def block_shapes(config: ModelConfig, *, crosses: bool) -> dict[str, Shape]:
    """The tensors of one block; with `crosses`, one that also reads an encoder's output."""
    shapes = _norm(config, "attention_norm", config.width) | _attention(config, "attention")
    if crosses:
        shapes |= _norm(config, "cross_attention_norm", config.width)
        shapes |= _attention(config, "cross_attention")
    shapes |= _norm(config, "feedforward_norm", config.width)
    width, ffn_width = config.width, config.ffn_width
    style = config.feedforward
    if style.gated:
        shapes |= _linear("feedforward.gate", ffn_width, width, style.bias)
    shapes |= _linear("feedforward.up", ffn_width, width, style.bias)
    return shapes | _linear("feedforward.down", width, ffn_width, style.bias)


def _stack(config: ModelConfig, num_layers: int, prefix: str, *, crosses: bool) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    positions = config.positions
    if positions.kind == "learned":
        shapes["positions.weight"] = (config.context_tokens, config.width)
    if positions.kind == "relative":
        shapes["relative.weight"] = (positions.buckets, config.num_heads)
    if config.embedding.normed:
        shapes |= _norm(config, "embedding_norm", config.width)
    block = block_shapes(config, crosses=crosses)
    for layer in range(num_layers):
        shapes |= {f"blocks.{layer}.{name}": shape for name, shape in block.items()}
    if config.norm.place == "before":
        shapes |= _norm(config, "final_norm", config.width)
    return {prefix + name: shape for name, shape in shapes.items()}


def _attention(config: ModelConfig, name: str) -> dict[str, Shape]:
    width, bias = config.width, config.attention.bias
    shapes = _linear(f"{name}.query", config.query_width, width, bias)
    shapes |= _linear(f"{name}.key", config.kv_width, width, bias)
    shapes |= _linear(f"{name}.value", config.kv_width, width, bias)
    if config.attention.query_key_norm:
        shapes[f"{name}.query_norm.weight"] = (config.head_width,)
        shapes[f"{name}.key_norm.weight"] = (config.head_width,)
    return shapes | _linear(f"{name}.output", width, config.query_width, bias)


def _linear(name: str, rows: int, columns: int, bias: bool) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {f"{name}.weight": (rows, columns)}
    return shapes | {f"{name}.bias": (rows,)} if bias else shapes


def _norm(config: ModelConfig, name: str, width: int) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {f"{name}.weight": (width,)}
    return shapes | {f"{name}.bias": (width,)} if config.norm.kind == "layer" else shapes
