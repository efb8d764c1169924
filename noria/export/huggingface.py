"""A model folder in Hugging Face's layout, and back.

In: our model folder (or theirs). Out: theirs (or ours), weights and tokenizer included. Loads in
transformers as LlamaForCausalLM and in whatever else reads that layout.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save

from noria.artifacts import atomic_write
from noria.containers import read_safetensors_header
from noria.errors import FormatError, InputError, UsageError
from noria.export.templates import CHAT_TEMPLATES, recognise_template
from noria.model.layouts.llama import from_llama, to_llama
from noria.model.transformer import Decoder, empty_model, fill_model
from noria.model.weights import WEIGHTS_FILE, load_model, read_json_object, save_model
from noria.tokenizer.chat import stop_ids
from noria.tokenizer.load import Tokenizer, load_tokenizer
from noria.tokenizer.specials import (
    END_TEXT,
    META_FILE,
    PAD_TEXT,
    TOKENIZER_FILE,
    TOKENIZER_FORMAT,
)

TOKENIZER_CONFIG_FILE = "tokenizer_config.json"


def export_huggingface(model_folder: Path, out: Path) -> None:
    """Write config, float32 weights, tokenizer and generation defaults into `out`.

    Raises UsageError for an int8 model: the layout has no place for its scales, and weights that
    are rounded back to floats would not be the weights that were evaluated.
    """
    tokenizer = load_tokenizer(model_folder)
    model = load_model(model_folder)
    if model.quantization is not None:
        raise UsageError(
            f"{model_folder} holds {model.quantization} weights",
            "float32 weights",
            "export the model that it was made from",
        )
    hf_config, tensors = to_llama(model.config, model.state_dict())
    hf_config |= {
        "bos_token_id": None,
        "eos_token_id": tokenizer.end_id,
        "pad_token_id": tokenizer.pad_id,
    }
    out.mkdir(parents=True, exist_ok=True)
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    atomic_write(out / WEIGHTS_FILE, save(contiguous, metadata={"format": "pt"}))
    _write_json(out / "config.json", hf_config)
    _write_json(
        out / "generation_config.json",
        {"eos_token_id": sorted(stop_ids(tokenizer)), "pad_token_id": tokenizer.pad_id},
    )
    atomic_write(out / TOKENIZER_FILE, (model_folder / TOKENIZER_FILE).read_bytes())
    _write_json(
        out / TOKENIZER_CONFIG_FILE, _tokenizer_config(tokenizer, model.config.context_tokens)
    )


def import_huggingface(folder: Path, out: Path) -> None:
    """Write a Hugging Face Llama as a model folder of ours, tokenizer included.

    A chat template is never executed: it is one of ours, or it is refused. Raises InputError if a
    file is missing, FormatError for a model or tokenizer that we would compute differently.
    """
    model = read_huggingface(folder)
    tokenizer_config = read_json_object(folder / TOKENIZER_CONFIG_FILE)
    chat_format = recognise_template(tokenizer_config.get("chat_template"))
    with tempfile.TemporaryDirectory() as name:  # proved before anything is written into `out`
        proved = Path(name)
        if not (folder / TOKENIZER_FILE).is_file():
            raise InputError(f"{folder / TOKENIZER_FILE} does not exist", "a tokenizer", "fetch it")
        shutil.copyfile(folder / TOKENIZER_FILE, proved / TOKENIZER_FILE)
        _write_json(proved / META_FILE, {"format": TOKENIZER_FORMAT, "chat_format": chat_format})
        tokenizer = load_tokenizer(proved)
        if tokenizer.vocab_size > model.config.vocab_size:
            raise FormatError(
                f"{folder}: a tokenizer of {tokenizer.vocab_size} ids",
                f"at most {model.config.vocab_size}",
                "fetch the model and its tokenizer together",
            )
        for file in (TOKENIZER_FILE, META_FILE):
            atomic_write(out / file, (proved / file).read_bytes())
    save_model(out, model)


def read_huggingface(folder: Path) -> Decoder:
    """Read a Hugging Face Llama into our model, without writing anything.

    Raises InputError if a file is missing, FormatError if it is not a plain Llama.
    """
    hf_config = read_json_object(folder / "config.json")
    read_safetensors_header(folder / WEIGHTS_FILE)
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / WEIGHTS_FILE).items()}
    config, renamed = from_llama(hf_config, tensors)
    model = empty_model(config)
    for name, tensor in model.state_dict().items():
        if renamed[name].shape != tensor.shape:
            raise FormatError(
                f"{folder}: {name} of shape {list(renamed[name].shape)}",
                f"{list(tensor.shape)}, as config.json says",
                "fetch the model again",
            )
    return fill_model(model, renamed).eval()


def _tokenizer_config(tokenizer: Tokenizer, context_tokens: int) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": None,
        "eos_token": END_TEXT,
        "pad_token": PAD_TEXT,
        "model_max_length": context_tokens,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATES[tokenizer.chat_format],
    }


def _write_json(path: Path, value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    atomic_write(path, text.encode("utf-8"))
