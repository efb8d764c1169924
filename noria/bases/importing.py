"""A base model made into a model folder of ours.

In: a folder in Hugging Face's layout, or a GGUF file. Out: `config.json`, float32
`model.safetensors` and the tokenizer's files, proved to belong together before any is written.
A decoder comes with a tokenizer that gives every text back, an encoder with BERT's.
This module does not know the formats: it calls who does.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noria.artifacts import atomic_write, file_digest
from noria.bases.gguf import decoder_from_gguf
from noria.bases.huggingface import (
    decoder_config,
    read_huggingface,
    read_huggingface_decoder,
    weight_files,
)
from noria.containers.gguf import read_gguf
from noria.errors import FormatError, InputError
from noria.model.cost import num_parameters
from noria.model.transformer import Decoder, Encoder
from noria.model.weights import model_weight_hash, save_model
from noria.tokenizer.bert import load_bert_tokenizer
from noria.tokenizer.foreign import tokenizer_from_gguf, tokenizer_from_huggingface
from noria.tokenizer.load import Tokenizer, load_tokenizer
from noria.tokenizer.specials import META_FILE, TOKENIZER_FILE


@dataclass(frozen=True)
class BaseFacts:
    """What was imported. `source_sha256`: of the GGUF file, or of each safetensors file.

    `chat_format` is "" for an encoder.
    """

    weight_hash: str
    container: str
    source_sha256: tuple[str, ...]
    num_parameters: int
    context_tokens: int
    vocab_size: int
    chat_format: str


def import_base(source: Path, out: Path) -> BaseFacts:
    """Write a base model as a model folder of ours, in float32.

    A chat template is never executed: it is one of a fixed list, or refused. Raises InputError if
    a file is missing, FormatError for a model or tokenizer that we would compute differently.
    """
    if source.is_dir():
        container, files = "huggingface", weight_files(source)
        decoder_config(source)  # before the tokenizer: another family's has another fault to tell
        text, meta = tokenizer_from_huggingface(source)
        model = read_huggingface_decoder(source)
    elif source.is_file():
        file = read_gguf(source)
        container, files = "gguf", [source]
        text, meta = tokenizer_from_gguf(file.metadata)
        model = decoder_from_gguf(file)
    else:
        raise InputError(f"{source} does not exist", "a folder or a .gguf file", "check the path")
    tokenizer = _write_tokenizer(source, model, text, meta, out)
    save_model(out, model)
    return BaseFacts(
        weight_hash=model_weight_hash(model),
        container=container,
        source_sha256=tuple(file_digest(path) for path in files),
        num_parameters=num_parameters(model.config),
        context_tokens=model.config.context_tokens,
        vocab_size=tokenizer.vocab_size,
        chat_format=tokenizer.chat_format,
    )


def import_encoder(source: Path, out: Path) -> BaseFacts:
    """Write an encoder in Hugging Face's layout of BERT as a model folder of ours, in float32.

    A head of its own is left out. Raises InputError if a file is missing, FormatError for a model
    of another family or a tokenizer that is not BERT's.
    """
    if not source.is_dir():
        raise InputError(f"{source} is no folder", "an encoder's folder", "check the path")
    model, tokenizer = read_huggingface(source), load_bert_tokenizer(source)
    if not isinstance(model, Encoder) or tokenizer.vocab_size > model.config.vocab_size:
        raise FormatError(
            f"{source}: a model of family {model.config.family!r}, {model.config.vocab_size} ids",
            f"an encoder of {tokenizer.vocab_size} ids or more, as its tokenizer has",
            "choose another base",
        )
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(out)
    save_model(out, model)
    return BaseFacts(
        weight_hash=model_weight_hash(model),
        container="huggingface",
        source_sha256=tuple(file_digest(path) for path in weight_files(source)),
        num_parameters=num_parameters(model.config),
        context_tokens=model.config.context_tokens,
        vocab_size=tokenizer.vocab_size,
        chat_format="",
    )


def _write_tokenizer(
    source: Path, model: Decoder, text: str, meta: dict[str, Any], out: Path
) -> Tokenizer:
    """Write the tokenizer's two files, after our own loader has taken them."""
    written = {
        TOKENIZER_FILE: text.encode("utf-8"),
        META_FILE: (json.dumps(meta, indent=1, ensure_ascii=False) + "\n").encode("utf-8"),
    }
    with tempfile.TemporaryDirectory() as name:
        for file, data in written.items():
            (Path(name) / file).write_bytes(data)
        tokenizer = load_tokenizer(Path(name))
    if tokenizer.vocab_size > model.config.vocab_size:
        raise FormatError(
            f"{source}: a tokenizer of {tokenizer.vocab_size} ids",
            f"at most {model.config.vocab_size}, the model's vocabulary",
            "fetch the model and its tokenizer together",
        )
    for file, data in written.items():
        atomic_write(out / file, data)
    return tokenizer
