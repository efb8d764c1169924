"""The models of the papers, part by part, so that each can be built and compared with today's.

In: nothing. Out: a config a name; the preset's caller sets vocabulary and context.
This module does not know torch.
"""

from __future__ import annotations

from noria.model.config import ModelConfig
from noria.model.styles import (
    AttentionStyle,
    Dropout,
    EmbeddingStyle,
    FeedForwardStyle,
    Norm,
    Positions,
)

# Vaswani et al. 2017, table 3, line "base": norm after each sum, ReLU, sines, no attention bias.
TRANSFORMER_2017 = ModelConfig(
    vocab_size=37000,
    context_tokens=512,
    num_layers=6,
    num_encoder_layers=6,
    width=512,
    num_heads=8,
    num_kv_heads=8,
    ffn_width=2048,
    family="encoder-decoder",
    positions=Positions(kind="sinusoidal"),
    norm=Norm(kind="layer", place="after"),
    feedforward=FeedForwardStyle(activation="relu", gated=False, bias=True),
    embedding=EmbeddingStyle(scaled=True),
    dropout=Dropout(hidden=0.1),
)

# Radford et al. 2019, the smallest of four: norm moved before the sublayer, GELU's approximation.
GPT2 = ModelConfig(
    vocab_size=50257,
    context_tokens=1024,
    num_layers=12,
    width=768,
    num_heads=12,
    num_kv_heads=12,
    ffn_width=3072,
    positions=Positions(kind="learned"),
    norm=Norm(kind="layer"),
    attention=AttentionStyle(bias=True),
    feedforward=FeedForwardStyle(activation="gelu-tanh", gated=False, bias=True),
    dropout=Dropout(hidden=0.1, attention=0.1),
)

# Devlin et al. 2018, BERT base: an encoder with two segments, its embeddings normed.
BERT_BASE = ModelConfig(
    vocab_size=30522,
    context_tokens=512,
    num_layers=12,
    width=768,
    num_heads=12,
    num_kv_heads=12,
    ffn_width=3072,
    family="encoder",
    positions=Positions(kind="learned"),
    norm=Norm(kind="layer", place="after", epsilon=1e-12),
    attention=AttentionStyle(bias=True),
    feedforward=FeedForwardStyle(activation="gelu", gated=False, bias=True),
    embedding=EmbeddingStyle(num_segments=2, normed=True),
    dropout=Dropout(hidden=0.1, attention=0.1),
)

# Raffel et al. 2020, T5 small: no positions but a bias on the scores, which are not scaled.
T5_SMALL = ModelConfig(
    vocab_size=32128,
    context_tokens=512,
    num_layers=6,
    num_encoder_layers=6,
    width=512,
    num_heads=8,
    num_kv_heads=8,
    ffn_width=2048,
    family="encoder-decoder",
    positions=Positions(kind="relative"),
    norm=Norm(epsilon=1e-6),
    attention=AttentionStyle(scaled=False),
    feedforward=FeedForwardStyle(activation="relu", gated=False),
    embedding=EmbeddingStyle(output_scaled=True),
    dropout=Dropout(hidden=0.1, attention=0.1, activation=0.1, output=0.1),
)

# Touvron et al. 2023, Llama 7B: RMSNorm before, rotary positions, SwiGLU, no biases.
LLAMA_7B = ModelConfig(
    vocab_size=32000,
    context_tokens=2048,
    num_layers=32,
    width=4096,
    num_heads=32,
    num_kv_heads=32,
    ffn_width=11008,
    tied=False,
    norm=Norm(epsilon=1e-6),
)

# Junczys-Dowmunt et al. 2018, Marian, in the shape of the OPUS-MT models (Tiedemann 2020): the
# Transformer of 2017 with SiLU, sines before cosines, and a bias on the scores.
MARIAN = ModelConfig(
    vocab_size=65001,
    context_tokens=512,
    num_layers=6,
    num_encoder_layers=6,
    width=512,
    num_heads=8,
    num_kv_heads=8,
    ffn_width=2048,
    family="encoder-decoder",
    positions=Positions(kind="sinusoidal", interleaved=False),
    norm=Norm(kind="layer", place="after"),
    attention=AttentionStyle(bias=True),
    feedforward=FeedForwardStyle(activation="silu", gated=False, bias=True),
    embedding=EmbeddingStyle(scaled=True, output_bias=True),
    dropout=Dropout(hidden=0.1),
)

HISTORICAL = {
    "transformer-2017": TRANSFORMER_2017,
    "gpt2": GPT2,
    "bert-base": BERT_BASE,
    "t5-small": T5_SMALL,
    "llama-7b": LLAMA_7B,
    "marian": MARIAN,
}
