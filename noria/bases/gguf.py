"""A GGUF file, read as a model of ours.

In: a file of architecture "llama", its weights quantized or not. Out: a float32 Decoder, equal to
what the quantized blocks stand for. The metadata and the stated shapes are checked before any
weight is read. This module does not know tokenizers, and leaves the bytes to noria.containers.
"""

from __future__ import annotations

from pathlib import Path

import torch

from noria.containers.gguf import GgufFile, read_gguf, read_gguf_tensor
from noria.errors import FormatError
from noria.model.layouts.llama_gguf import config_from_gguf, from_gguf_rows, gguf_names
from noria.model.transformer import Decoder, empty_decoder, fill_model


def read_gguf_model(path: Path) -> Decoder:
    """Read a GGUF llama into our model, in float32.

    Raises InputError if the file is missing, FormatError if it is malformed or no plain llama.
    """
    return decoder_from_gguf(read_gguf(path))


def decoder_from_gguf(file: GgufFile) -> Decoder:
    """The model of a GGUF file whose header has been read. Raises FormatError as above."""
    shapes = {name: tensor.shape for name, tensor in file.tensors.items()}
    try:
        config = config_from_gguf(file.metadata, shapes)
    except FormatError as error:
        given = f"{file.path}: {error.given}"
        raise FormatError(given, error.expected, error.fix) from error
    tensors = {}
    for ours, theirs in gguf_names(config).items():
        numbers = torch.from_numpy(read_gguf_tensor(file, theirs))
        tensors[ours] = from_gguf_rows(config, ours, numbers).contiguous()
    return fill_model(empty_decoder(config), tensors).eval()
