"""The tokenizer of a folder in Hugging Face's layout.

In: tokenizer.json or, of a SentencePiece vocabulary, tokenizer.model; tokenizer_config.json and,
where it is, chat_template.jinja. Out: the text of a `tokenizer.json` and the description that
belongs beside it. It writes nothing, and nothing that it reads is executed: templates and patterns
are compared with those that are known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noria.errors import FormatError, InputError
from noria.tokenizer.kinds import CONTINUING, vocabulary
from noria.tokenizer.load import MAX_TOKENIZER_BYTES
from noria.tokenizer.offices import Named, broken, describe, proved
from noria.tokenizer.pretokenizers import recognise_pre_tokenizer
from noria.tokenizer.sentencepiece_json import PRE, spelling_of
from noria.tokenizer.sentencepiece_vocabulary import MODEL_FILE, tokenizer_from_sentencepiece
from noria.tokenizer.specials import TOKENIZER_FILE

TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
TEMPLATE_FILE = "chat_template.jinja"
MAX_CONFIG_BYTES = 4 << 20

_FLAGS = ("single_word", "lstrip", "rstrip")  # they swallow the white space around a token


def tokenizer_from_huggingface(folder: Path) -> tuple[str, dict[str, Any]]:
    """The tokenizer of a folder in Hugging Face's layout: `tokenizer.json`, description.

    A `tokenizer.model` is read where there is no `tokenizer.json`, or one that is converted from
    it. Raises InputError if a file is missing, FormatError for a vocabulary that is neither
    byte-level BPE nor SentencePiece's, an unknown pre-tokenizer or chat template, or values that
    contradict each other.
    """
    path, model = folder / TOKENIZER_FILE, folder / MODEL_FILE
    value = (
        {} if model.is_file() and not path.is_file() else _read_object(path, MAX_TOKENIZER_BYTES)
    )
    config = _read_object(folder / TOKENIZER_CONFIG_FILE, MAX_CONFIG_BYTES)
    if model.is_file() and not _is_over_bytes(value):
        return tokenizer_from_sentencepiece(model, config, _template(folder, config))
    try:
        pre = _pre(value)
        named = _named(value, config)
        _mark(value, named)
        specials = {one["id"]: one["content"] for one in value["added_tokens"] if one["special"]}
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise broken(f"{path}: {error}") from error
    description = describe(specials, pre, _template(folder, config), named)
    value |= {"truncation": None, "padding": None}  # else the library would cut and fill by itself
    return proved(value, description, str(path))


def _read_object(path: Path, max_bytes: int) -> dict[str, Any]:
    try:
        value = json.loads(_read_text(path, max_bytes))
    except (ValueError, RecursionError) as error:
        raise broken(f"{path} can't be read ({error})") from error
    if not isinstance(value, dict):
        raise broken(f"{path} that is no JSON object")
    return value


def _read_text(path: Path, max_bytes: int) -> str:
    if not path.is_file():
        raise InputError(f"{path} does not exist", "a tokenizer beside the model", "fetch it")
    if path.stat().st_size > max_bytes:
        raise broken(f"{path} of more than {max_bytes} bytes")
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, ValueError) as error:
        raise broken(f"{path} can't be read ({error})") from error


def _is_over_bytes(value: Mapping[str, Any]) -> bool:
    """Whether a `tokenizer.json` cuts text into pieces of bytes."""
    cut = value.get("pre_tokenizer")
    parts = cut.get("pretokenizers", [cut]) if isinstance(cut, dict) else []
    return any(isinstance(one, dict) and one.get("type") == "ByteLevel" for one in parts)


def _pre(value: Mapping[str, Any]) -> str:
    """The name of how text is cut. Raises FormatError for what our loader would not do alike."""
    _check_added(value)
    if spelling_of(value) is not None:  # one that was exported from here
        return PRE
    pre = recognise_pre_tokenizer(value["pre_tokenizer"])
    _check_plain(value)
    return pre


def _check_plain(value: Mapping[str, Any]) -> None:
    """Refuse what our loader would compute, but not as text that decodes to itself."""
    model = value["model"]
    for name in ("dropout", "byte_fallback", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(name) not in (None, "", False, 0, CONTINUING):
            raise FormatError(f"a tokenizer with {name}", "plain byte-level BPE", "use another")


def _check_added(value: Mapping[str, Any]) -> None:
    for token in value["added_tokens"]:
        if not isinstance(token["content"], str) or type(token["special"]) is not bool:
            raise ValueError("an added token that is none")
        if any(token.get(flag) for flag in _FLAGS):
            raise FormatError(
                f"the token {token['content']!r} that takes white space with it",
                "tokens that stand for themselves",
                "use another base",
            )


def _named(value: Mapping[str, Any], config: Mapping[str, Any]) -> Named:
    known = vocabulary(value["model"])
    known |= {token["content"]: token["id"] for token in value["added_tokens"]}

    def token_id(name: str) -> int | None:
        token = config.get(f"{name}_token")
        text = token["content"] if isinstance(token, dict) else token
        if text is not None and text not in known:
            raise ValueError(f"special tokens without {name}_token {text!r}")
        return None if text is None else known[text]

    bos_id = token_id("bos")
    stated = config.get("add_bos_token")
    adds_bos = stated if isinstance(stated, bool) else _begins_with(value["post_processor"], bos_id)
    return Named(token_id("eos"), bos_id, token_id("pad"), adds_bos)


def _begins_with(processor: Any, bos_id: int | None) -> bool:
    """Whether a post-processor puts `bos` before a text."""
    if processor is None or bos_id is None:
        return False
    if processor["type"] == "Sequence":
        return any(_begins_with(one, bos_id) for one in processor["processors"])
    if processor["type"] != "TemplateProcessing":
        return False
    first = processor["single"][0].get("SpecialToken")
    return first is not None and bos_id in processor["special_tokens"][first["id"]]["ids"]


def _mark(value: dict[str, Any], named: Named) -> None:
    """Make the tokens that have an office special, wherever the files forgot to."""
    offices = {named.eos_id, named.bos_id, named.pad_id} - {None}
    listed = {token["id"] for token in value["added_tokens"]}
    texts = {index: text for text, index in vocabulary(value["model"]).items()}
    flags = dict.fromkeys((*_FLAGS, "normalized"), False)
    for index in sorted(one for one in offices - listed if one is not None):
        value["added_tokens"].append({"id": index, "content": texts[index], **flags})
    for token in value["added_tokens"]:
        token["special"] = token.get("special", False) or token["id"] in offices


def _template(folder: Path, config: Mapping[str, Any]) -> object:
    """The chat template; a file of its own counts before the configuration."""
    path = folder / TEMPLATE_FILE
    return _read_text(path, MAX_CONFIG_BYTES) if path.is_file() else config.get("chat_template")
