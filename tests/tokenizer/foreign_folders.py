"""Tokenizers in Hugging Face's layout, as a model would bring them: one for each chat format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from noria.tokenizer.description import parse_description
from noria.tokenizer.foreign import tokenizer_from_huggingface
from noria.tokenizer.known_templates import KnownTemplate
from noria.tokenizer.load import Tokenizer, build_tokenizer
from noria.tokenizer.pretokenizers import PRE_TOKENIZERS

SPECIALS = {
    "plain": ["<|begin_of_text|>"],
    "chatml": ["<|im_start|>", "<|im_end|>", "<|begin_of_text|>"],
    "smollm2": ["<|im_start|>", "<|im_end|>"],
    "qwen2": ["<|im_start|>", "<|im_end|>"],
    "llama-3": ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "llama-2": ["<|begin_of_text|>"],
    "mistral": ["<|begin_of_text|>", "[INST]", "[/INST]"],  # as Mistral's later vocabularies
    "mistral-v0.1": ["<|begin_of_text|>"],
    "gemma": ["<|begin_of_text|>", "<start_of_turn>", "<end_of_turn>"],
    "alpaca": ["<|begin_of_text|>"],
    "zephyr": ["<|user|>", "<|system|>"],  # the assistant's heading is text: both are found
}


def write_folder(
    folder: Path, trained: dict[str, Any], known: KnownTemplate, pre: str = "gpt-2"
) -> Path:
    """A tokenizer as Hugging Face's layout has it, with the special tokens of a format."""
    texts = ["<|endoftext|>", *SPECIALS[known.chat_format]]
    words = sorted(trained["model"]["vocab"], key=trained["model"]["vocab"].get)[4:]
    first = len(words)  # after the words, as Llama 3 and Qwen have them
    added = [
        {"id": first + number, "content": text, "special": True, "normalized": False}
        | dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
        for number, text in enumerate(texts)
    ]
    model = trained["model"] | {"vocab": {word: number for number, word in enumerate(words)}}
    value = trained | {"added_tokens": added, "model": model}
    value |= {"pre_tokenizer": PRE_TOKENIZERS[pre]}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>" if "<|im_end|>" in texts else "<|endoftext|>",
        "bos_token": "<|begin_of_text|>" if "<|begin_of_text|>" in texts else None,
        "pad_token": "<|endoftext|>",
        "chat_template": known.text,
        "clean_up_tokenization_spaces": False,
    }
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(value), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def imported(folder: Path) -> Tokenizer:
    text, meta = tokenizer_from_huggingface(folder)
    return build_tokenizer(text, parse_description(meta, "here"), "here")
