"""A model folder as one GGUF file, which llama.cpp and what is built on it can run.

In: our model folder. Out: float32 weights, tokenizer, chat format and special ids in one file.
Written with the `gguf` package of llama.cpp's own people, read back by our reader.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from noria.errors import MissingExtra
from noria.export.gguf_tokenizer import tokenizer_metadata
from noria.export.source import load_exportable
from noria.model.layouts.llama_gguf import ARCHITECTURE, to_gguf

GGUF_FILE = "model.gguf"
_ALL_FLOAT32 = 0  # general.file_type


def export_gguf(model_folder: Path, out: Path) -> None:
    """Write a model folder as the file `out`, whole or not at all.

    Raises MissingExtra without the `gguf` package, UsageError for an int8 model or for a tokenizer
    that llama.cpp would cut text with differently.
    """
    if importlib.util.find_spec("gguf") is None:
        raise MissingExtra("gguf, which writes GGUF files,", "export")
    loaded = load_exportable(model_folder)
    config = loaded.model.config
    described, tensors = to_gguf(config, loaded.model.state_dict())
    metadata: dict[str, Any] = {"general.type": "model", "general.file_type": _ALL_FLOAT32}
    metadata |= described | tokenizer_metadata(model_folder, config.vocab_size)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as name:
        unfinished = Path(name) / GGUF_FILE
        _write(unfinished, metadata, tensors)
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(out)


def _write(path: Path, metadata: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    from gguf import GGUFWriter

    writer = GGUFWriter(path, ARCHITECTURE)  # writes general.architecture itself
    try:
        for key, value in metadata.items():
            match value:
                case bool():
                    writer.add_bool(key, value)
                case int():
                    writer.add_uint32(key, value)
                case float():
                    writer.add_float32(key, value)
                case str():
                    writer.add_string(key, value)
                case _:
                    writer.add_array(key, value)
        for tensor_name, tensor in tensors.items():
            writer.add_tensor(tensor_name, tensor.detach().numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
