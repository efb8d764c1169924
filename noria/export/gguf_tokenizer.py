"""A byte-level BPE tokenizer as GGUF's metadata.

In: a model folder's tokenizer files. Out: the keys `tokenizer.*`. llama.cpp keeps no rule for where
text is cut before merging, only the names of rules that it has compiled in: a tokenizer whose rule
is none of those is refused, for it would give other ids. This module does not know weights.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from noria.errors import UsageError
from noria.export.templates import template_text
from noria.tokenizer.description import OUR_PRE, OUR_SHORT_PRE, read_description
from noria.tokenizer.sentencepiece_json import PRE
from noria.tokenizer.specials import META_FILE, TOKENIZER_FILE

_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5  # llama.cpp's enum llama_token_attr


def tokenizer_metadata(folder: Path, num_rows: int) -> dict[str, Any]:
    """The `tokenizer.*` keys of a model folder's tokenizer, one token for each of `num_rows` ids.

    Raises UsageError if llama.cpp has no rule that cuts text as this tokenizer does.
    """
    stored = json.loads((folder / TOKENIZER_FILE).read_bytes())
    description = read_description(folder / META_FILE)
    _check_rule(folder, description.pre, stored["model"].get("ignore_merges", False))
    texts, kinds = _tokens(stored, num_rows)
    metadata = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": description.pre,
        "tokenizer.ggml.tokens": texts,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": [_merge(one) for one in stored["model"]["merges"]],
        "tokenizer.ggml.eos_token_id": description.eos_id,
        "tokenizer.ggml.eot_token_id": description.turn_end_id,
        "tokenizer.ggml.padding_token_id": description.pad_id,
        "tokenizer.ggml.add_bos_token": bool(description.start_ids),
        "tokenizer.ggml.add_space_prefix": False,
        "tokenizer.chat_template": template_text(description),
    }
    if description.bos_id is not None:
        metadata["tokenizer.ggml.bos_token_id"] = description.bos_id
    return metadata


def _check_rule(folder: Path, pre: str, takes_whole_words: bool) -> None:
    """Of llama.cpp's rules that we know, Llama 3's alone takes a piece that is a token as it is."""
    if pre == PRE:
        raise UsageError(
            f"{folder} has a SentencePiece tokenizer, whose scores are not kept",
            "a byte-level BPE tokenizer",
            "export it in Hugging Face's layout",
        )
    if pre in (OUR_PRE, OUR_SHORT_PRE) or takes_whole_words != (pre == "llama-bpe"):
        raise UsageError(
            f"{folder} has a tokenizer that cuts text in a way that llama.cpp does not know",
            "the tokenizer of an imported base model",
            "export it in Hugging Face's layout",
        )


def _tokens(stored: dict[str, Any], num_rows: int) -> tuple[list[str], list[int]]:
    """Text and kind of every id; rows of the embedding that no token has are marked unused."""
    texts = [f"[PAD{number}]" for number in range(num_rows)]
    kinds = [_UNUSED] * num_rows
    for text, number in stored["model"]["vocab"].items():
        texts[number], kinds[number] = text, _NORMAL
    for token in stored["added_tokens"]:
        texts[token["id"]] = token["content"]
        kinds[token["id"]] = _CONTROL if token["special"] else _USER_DEFINED
    return texts, kinds


def _merge(merge: str | list[str]) -> str:
    return merge if isinstance(merge, str) else " ".join(merge)
