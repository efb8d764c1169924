"""The kinds of vocabulary: how text that is cut and spelled in bytes becomes tokens.

In: the JSON of a `tokenizer.json`. Out: which kind it is, or a refusal. All kinds stand on the same
byte alphabet, so that each gives every text back; they differ in how a piece is divided:

    bpe        merges, in the order in which they were learned (Sennrich et al. 2016)
    unigram    the likeliest division, each token with a probability (Kudo 2018)
    wordpiece  the longest token first, from left to right (Schuster and Nakajima 2012)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tokenizers

from noria.errors import FormatError
from noria.tokenizer.bytelevel import BYTE_OF_CHARACTER
from noria.tokenizer.description import OUR_PRE, OUR_SHORT_PRE
from noria.tokenizer.pretokenizers import MAX_SHORT_PIECE_BYTES, recognise_pre_tokenizer

MODEL_TYPES = {"bpe": "BPE", "unigram": "Unigram", "wordpiece": "WordPiece"}
# Before each token of a WordPiece vocabulary that begins no piece. BERT's "##" could be text; this
# is outside of the byte alphabet.
CONTINUING = "‥"

_BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
DECODERS: dict[str, dict[str, Any]] = {
    "bpe": _BYTES,
    "unigram": _BYTES,
    "wordpiece": {
        "type": "Sequence",
        "decoders": [{"type": "Replace", "pattern": {"String": CONTINUING}, "content": ""}, _BYTES],
    },
}
PRES = {"unigram": OUR_PRE, "wordpiece": OUR_SHORT_PRE}


def kind_of(value: Mapping[str, Any], where: str) -> str:
    """The kind of vocabulary. Raises FormatError for one that would not give every text back."""
    model, decoder = value["model"], value["decoder"]
    kinds = {name: kind for kind, name in MODEL_TYPES.items()}
    kind = kinds.get(model["type"], "")
    if not kind or value["normalizer"] is not None or _shape(decoder) != _shape(DECODERS[kind]):
        found = {"model": model["type"], "normalizer": value["normalizer"], "decoder": decoder}
        raise FormatError(
            f"{where} holds {str(found)[:300]}",
            "a byte-level BPE, Unigram or WordPiece without normaliser",
            "train the tokenizer again, or import its model again",
        )
    if kind in PRES and recognise_pre_tokenizer(value["pre_tokenizer"]) != PRES[kind]:
        raise FormatError(
            f"{where}: a {kind} with a pre-tokenizer of another kind", PRES[kind], "train it again"
        )
    if kind == "wordpiece":
        _check_wordpiece(model, where)
    return kind


def vocabulary(model: Mapping[str, Any]) -> dict[str, int]:
    """Token -> id of the `model` of a `tokenizer.json`."""
    if isinstance(model["vocab"], list):  # Unigram: pairs of token and score, in order of ids
        return {token: number for number, (token, _) in enumerate(model["vocab"])}
    return dict(model["vocab"])


def forged(
    kind: str, model: Mapping[str, Any], inner: tokenizers.Tokenizer, texts: set[str]
) -> set[str]:
    """Those of the special tokens' texts that ordinary text can reach.

    In a BPE text reaches an id as a single character, as the result of a merge, or (where merges
    are ignored for words that are whole in the vocabulary) as itself. In the other kinds it reaches
    every token that is not cut before: none of our patterns has signs on both sides of letters in
    one piece, whatever stands around them.
    """
    if kind != "bpe":
        cut = inner.pre_tokenizer
        return {text for text in texts if len(cut.pre_tokenize_str(text)) < 2}
    merged = {
        "".join(merge) if isinstance(merge, list) else merge.replace(" ", "", 1)
        for merge in model["merges"]
    }
    reached = {text for text in texts if len(text) == 1 or text in merged}
    return reached | (texts & set(model["vocab"]) if model.get("ignore_merges") else set())


def _shape(value: Any) -> Any:
    """A decoder without the settings that only an encoder reads."""
    if not isinstance(value, dict):
        return value
    if value.get("type") == "ByteLevel":
        return "ByteLevel"
    return {
        key: [_shape(one) for one in item] if isinstance(item, list) else item
        for key, item in value.items()
    }


def _check_wordpiece(model: Mapping[str, Any], where: str) -> None:
    """Refuse a WordPiece that could meet a piece it has no tokens for."""
    needed = [*BYTE_OF_CHARACTER, *(CONTINUING + one for one in BYTE_OF_CHARACTER)]
    if (
        model["continuing_subword_prefix"] != CONTINUING
        or model["max_input_chars_per_word"] < MAX_SHORT_PIECE_BYTES
        or not set(needed).issubset(model["vocab"])
    ):
        raise FormatError(
            f"{where}: a WordPiece that does not know every byte",
            "one that Noria trained",
            "train the tokenizer again",
        )
