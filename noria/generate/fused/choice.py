"""Whether a decoder can be read by the compiled pass, and then that pass.

In: the base of an engine. Out: its compiled reader, or None: then torch reads it as any other.
numba is an extra (`fast`), and is imported here only where it will be used.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch

from noria.generate.fused.layout import LANES, PANEL_OUTPUTS
from noria.model.adapted import AdaptedLinear
from noria.model.config import ModelConfig
from noria.model.quantized import num_product_groups
from noria.model.styles import EmbeddingStyle, FeedForwardStyle, Norm
from noria.model.transformer import Decoder, EncoderDecoder
from noria.runtime import has_fast_int8

if TYPE_CHECKING:
    from noria.generate.fused.decoder import FusedDecoder


def fused(base: Decoder | EncoderDecoder) -> FusedDecoder | None:
    """The compiled pass of a decoder, or None where there is none for it or for this machine."""
    if not isinstance(base, Decoder) or not _can_be_fused(base):
        return None
    from noria.generate.fused.decoder import FusedDecoder

    return FusedDecoder(base)


def _can_be_fused(base: Decoder) -> bool:
    first = next(base.parameters())
    return (
        base.quantization == "int8-dynamic"
        and (first.device.type, first.dtype) == ("cpu", torch.float32)
        and has_fast_int8()
        and find_spec("numba") is not None
        and _is_llama_shaped(base.config)
        and not any(isinstance(one, AdaptedLinear) for one in base.modules())
    )


def _is_llama_shaped(config: ModelConfig) -> bool:
    """Llama's styles, with normed queries and keys or without, in widths that fill vectors."""
    attention, inner = config.attention, config.ffn_width
    return (
        config.positions.kind == "rotary"
        and config.norm == Norm(epsilon=config.norm.epsilon)
        and not (attention.bias or attention.window_tokens)
        and config.feedforward == FeedForwardStyle()
        and config.embedding == EmbeddingStyle()
        and config.width % PANEL_OUTPUTS == 0
        and config.head_width % LANES == 0
        and inner % (LANES * num_product_groups(inner)) == 0
    )
