"""Post-training quantization: a trained float model in, one of a quarter of the bytes out."""

from __future__ import annotations

import copy

from noria.errors import UsageError
from noria.model.quantized import to_int8
from noria.model.transformer import Decoder


def quantize_model(model: Decoder, quantization: str = "int8") -> Decoder:
    """A copy of the model with int8 weights, one float32 scale a row; the original is unchanged.

    quantization: "int8", or "int8-dynamic", which rounds inputs too.

    The embedding is quantized too: in a small model it is a large share of the bytes, and one
    scale a token serves its look-up and its row of the tied scoring layer alike. Norms stay
    float32: they are few and multiply everything. Raises UsageError if it is quantized already.
    """
    if model.quantization is not None:
        raise UsageError(
            f"a model that is {model.quantization} already",
            "float weights",
            "quantize the original",
        )
    return to_int8(copy.deepcopy(model), quantization).eval()
