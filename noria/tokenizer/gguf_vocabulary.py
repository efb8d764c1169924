"""The tokenizer inside a GGUF file.

In: the file's metadata, already read and bounds-checked; its values are still anybody's. Out: the
text of a `tokenizer.json` and the description that belongs beside it. It opens no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from noria.errors import FormatError
from noria.tokenizer.description import Description
from noria.tokenizer.offices import Named, broken, describe, proved, starting
from noria.tokenizer.pretokenizers import PRE_TOKENIZERS
from noria.tokenizer.sentencepiece_file import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    Vocabulary,
)
from noria.tokenizer.sentencepiece_text import Spelling
from noria.tokenizer.sentencepiece_vocabulary import tokenizer_from_vocabulary

MAX_VOCAB_SIZE = 1 << 20

# llama.cpp's names -> the pre-tokenizer that transformers runs for them; a missing name is
# "default". For "smollm" transformers' GGUF reader does not cut digits first, as llama.cpp and the
# model's own tokenizer.json do: ids differ where two or more white-space characters stand before a
# digit. We keep to transformers, and store the name of what we run.
GGUF_PRE = {
    "smollm": "gpt-2",
    "gpt-2": "gpt-2",
    "default": "gpt-2",
    "llama-bpe": "llama-bpe",
    "qwen2": "qwen2",
}
# tokenizer.ggml.token_type, which has SentencePiece's numbers, of each tokenizer.ggml.model
_KINDS = {
    "gpt2": (NORMAL, CONTROL, USER_DEFINED, UNUSED),
    "llama": (NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE),
}
_MAX_SCORE = 1e30  # below it every number is one of float32 too
_WHERE = "the GGUF file's tokenizer"


def tokenizer_from_gguf(metadata: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The tokenizer that a GGUF file's metadata describes: `tokenizer.json`, description.

    Raises FormatError for a vocabulary that is neither byte-level BPE ("gpt2") nor SentencePiece's
    BPE ("llama"), an unknown pre-tokenizer or chat template, or values that contradict each other.
    """
    if metadata.get("tokenizer.ggml.model") == "llama":
        return _sentencepiece(metadata)
    pre = _pre(metadata)
    tokens = _texts(metadata, "tokens")
    if len(set(tokens)) != len(tokens):
        raise broken("a vocabulary that lists a token twice")
    merges = [_pair(merge) for merge in _texts(metadata, "merges")]
    types = _types(metadata, len(tokens), _KINDS["gpt2"])
    named = _named(metadata, len(tokens), adds_bos=False)
    offices = {named.eos_id, named.bos_id, named.pad_id, *named.more_stops} - {None}
    marked = {index for index, one in enumerate(types) if one in (CONTROL, UNUSED)}
    marked |= {one for one in offices if one is not None}
    whole = {index for index, one in enumerate(types) if one == USER_DEFINED} - marked
    specials = {index: tokens[index] for index in sorted(marked)}
    description = describe(specials, pre, metadata.get("tokenizer.chat_template"), named)
    added = {index: tokens[index] for index in sorted(marked | whole)}
    value = _tokenizer_json(tokens, merges, added, description)
    return proved(value, description, _WHERE)


def _sentencepiece(metadata: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A SentencePiece BPE; what the file leaves out is as llama.cpp takes it."""
    tokens = _texts(metadata, "tokens")
    types = _types(metadata, len(tokens), _KINDS["llama"])
    named = _named(metadata, len(tokens), adds_bos=True)
    if named.pad_id is not None and types[named.pad_id] == UNKNOWN:
        named = replace(named, pad_id=None)
    vocabulary = Vocabulary(
        kind="bpe",
        texts=tuple(tokens),
        scores=tuple(_scores(metadata, len(tokens))),
        kinds=tuple(types),
        spelling=Spelling(
            adds_prefix=metadata.get("tokenizer.ggml.add_space_prefix") is not False,
            drops_spaces=metadata.get("tokenizer.ggml.remove_extra_whitespaces") is True,
        ),
        falls_back=BYTE in types,
        named={},
    )
    template = metadata.get("tokenizer.chat_template")
    return tokenizer_from_vocabulary(vocabulary, {}, named, template, _WHERE)


def _named(metadata: Mapping[str, Any], num_tokens: int, adds_bos: bool) -> Named:
    """The ids with an office. adds_bos: whether bos stands first where the file does not say."""
    ids = {
        name: _token_id(metadata, name, num_tokens)
        for name in ("eos", "bos", "padding", "eot", "eom")
    }
    return Named(
        ids["eos"],
        ids["bos"],
        ids["padding"],
        metadata.get("tokenizer.ggml.add_bos_token", adds_bos) is True,
        frozenset(one for one in (ids["eot"], ids["eom"]) if one is not None),
    )


def _pre(metadata: Mapping[str, Any]) -> str:
    kind = metadata.get("tokenizer.ggml.model")
    named = metadata.get("tokenizer.ggml.pre", "default")
    if kind != "gpt2" or not isinstance(named, str) or named not in GGUF_PRE:
        raise FormatError(
            f"a GGUF tokenizer of model {kind!r} with pre-tokenizer {named!r}",
            "model 'llama', or 'gpt2' with pre-tokenizer " + ", ".join(GGUF_PRE),
            "use a base whose tokenizer is byte-level BPE or SentencePiece's BPE",
        )
    return GGUF_PRE[named]


def _texts(metadata: Mapping[str, Any], name: str) -> list[str]:
    value = metadata.get(f"tokenizer.ggml.{name}")
    if not isinstance(value, list) or not 0 < len(value) <= MAX_VOCAB_SIZE:
        raise broken(f"tokenizer.ggml.{name} that is no list of 1 to {MAX_VOCAB_SIZE} texts")
    if not all(isinstance(one, str) and one for one in value):
        raise broken(f"tokenizer.ggml.{name} with something else than texts")
    return value


def _types(metadata: Mapping[str, Any], num_tokens: int, known: Sequence[int]) -> list[int]:
    types = metadata.get("tokenizer.ggml.token_type", [NORMAL] * num_tokens)
    if not isinstance(types, list) or len(types) != num_tokens:
        raise broken(f"tokenizer.ggml.token_type that does not list {num_tokens} types")
    if not all(type(one) is int and one in known for one in types):
        raise broken(f"tokenizer.ggml.token_type with other types than {known}")
    return types


def _scores(metadata: Mapping[str, Any], num_tokens: int) -> list[float]:
    scores = metadata.get("tokenizer.ggml.scores")
    if not isinstance(scores, list) or len(scores) != num_tokens:
        raise broken(f"tokenizer.ggml.scores that does not list {num_tokens} numbers")
    if not all(type(one) is float and abs(one) < _MAX_SCORE for one in scores):
        raise broken("tokenizer.ggml.scores with something else than numbers")
    return scores


def _token_id(metadata: Mapping[str, Any], name: str, num_tokens: int) -> int | None:
    value = metadata.get(f"tokenizer.ggml.{name}_token_id")
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < num_tokens:
        raise broken(f"tokenizer.ggml.{name}_token_id {value!r} of {num_tokens} tokens")
    return value


def _pair(merge: str) -> list[str]:
    pair = merge.split(" ")
    if len(pair) != 2 or not all(pair):
        raise broken(f"the merge {merge!r}")
    return pair


def _tokenizer_json(
    tokens: Sequence[str],
    merges: list[list[str]],
    added: Mapping[int, str],
    description: Description,
) -> dict[str, Any]:
    """A `tokenizer.json`; no merge cuts through an `added` token, and text spells no special."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": index, "content": text, **flags, "special": index in description.specials}
            for index, text in added.items()
        ],
        "normalizer": None,
        "pre_tokenizer": PRE_TOKENIZERS[description.pre],
        "post_processor": starting(description),
        "decoder": PRE_TOKENIZERS["gpt-2"],
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": merges,
        },
    }
