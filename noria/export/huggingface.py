"""A model folder in Hugging Face's layout.

In: our model folder. Out: config, weights, tokenizer and generation defaults, which load in
transformers and whatever else reads its layouts: a model with Llama's semantics as a Llama, one
with GPT-2's as a GPT-2. Reading it back is what noria.bases does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save

from noria.artifacts import atomic_write
from noria.export.source import load_exportable
from noria.export.templates import template_text
from noria.model.layouts.catalogue import layout_for
from noria.model.weights import CONFIG_FILE, WEIGHTS_FILE
from noria.tokenizer.description import Description, read_description
from noria.tokenizer.specials import META_FILE, TOKENIZER_FILE

TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
GENERATION_CONFIG_FILE = "generation_config.json"


def export_huggingface(model_folder: Path, out: Path) -> None:
    """Write config, float32 weights, tokenizer and generation defaults into `out`.

    Raises UsageError for an int8 model, or one whose semantics no layout of ours can say.
    """
    loaded = load_exportable(model_folder)
    config = loaded.model.config
    description = read_description(model_folder / META_FILE)
    hf_config, tensors = layout_for(config).write(config, loaded.model.state_dict())
    hf_config |= {
        "bos_token_id": description.bos_id,
        "eos_token_id": description.eos_id,
        "pad_token_id": description.pad_id,
    }
    stops = {"eos_token_id": sorted(description.stop_ids), "pad_token_id": description.pad_id}
    tokenizer_config = _tokenizer_config(description, config.context_tokens)
    out.mkdir(parents=True, exist_ok=True)
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    atomic_write(out / WEIGHTS_FILE, save(contiguous, metadata={"format": "pt"}))
    _write_json(out / CONFIG_FILE, hf_config)
    _write_json(out / GENERATION_CONFIG_FILE, stops)
    _write_json(out / TOKENIZER_CONFIG_FILE, tokenizer_config)
    atomic_write(out / TOKENIZER_FILE, (model_folder / TOKENIZER_FILE).read_bytes())


def _tokenizer_config(description: Description, context_tokens: int) -> dict[str, Any]:
    texts, begin = description.specials, description.bos_id
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": None if begin is None else texts[begin],
        "eos_token": texts[description.eos_id],
        "pad_token": texts[description.pad_id],
        "model_max_length": context_tokens,
        "clean_up_tokenization_spaces": False,
        "chat_template": template_text(description),
    }


def _write_json(path: Path, value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    atomic_write(path, text.encode("utf-8"))
