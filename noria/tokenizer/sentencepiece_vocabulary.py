"""A SentencePiece vocabulary made into a tokenizer of ours.

In: a `.model` file with what a folder in Hugging Face's layout says beside it, or a Vocabulary from
elsewhere. Out: the text of a `tokenizer.json` and the description that belongs beside it.

A text is encoded as SentencePiece encodes it, and so is each run of text between two special
tokens of a chat: where the model puts a space before every text, each run begins with one, as
Llama 2's own program and llama.cpp have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noria.errors import FormatError
from noria.tokenizer.offices import Named, broken, describe, proved, starting
from noria.tokenizer.sentencepiece_file import (
    CONTROL,
    UNKNOWN,
    UNUSED,
    Vocabulary,
    read_sentencepiece,
)
from noria.tokenizer.sentencepiece_json import PRE, sentencepiece_json

MODEL_FILE = "tokenizer.model"


def tokenizer_from_sentencepiece(
    path: Path, config: Mapping[str, Any] | None = None, template: object = None
) -> tuple[str, dict[str, Any]]:
    """The tokenizer of a `.model` file: `tokenizer.json`, description.

    config: of a `tokenizer_config.json` beside it; without one the file itself names its tokens,
    and its bos, if it has one, stands before every text. template: the model's chat template.
    Raises InputError if the file is missing, FormatError for one that is torn, whose ids could be
    others than SentencePiece's, or that contradicts its configuration.
    """
    vocabulary = read_sentencepiece(path)
    try:
        added = _added(vocabulary, config or {})
        named = _named(vocabulary, config or {}, added)
        return tokenizer_from_vocabulary(vocabulary, added, named, template, str(path))
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise broken(f"{path}: {error}") from error
    except FormatError as error:
        given = error.given if str(path) in error.given else f"{path}: {error.given}"
        raise FormatError(given, error.expected, error.fix) from error


def tokenizer_from_vocabulary(
    vocabulary: Vocabulary, added: Mapping[int, str], named: Named, template: object, where: str
) -> tuple[str, dict[str, Any]]:
    """The tokenizer of a vocabulary: `tokenizer.json`, description.

    added: id and text of special tokens beside the vocabulary's own control tokens. Raises
    FormatError as above.
    """
    offices = {named.eos_id, named.bos_id, named.pad_id, *named.more_stops} - {None}
    specials = {
        number: text
        for number, text in enumerate(vocabulary.texts)
        if vocabulary.kinds[number] in (CONTROL, UNUSED) or number in offices
    }
    specials |= added
    if vocabulary.kinds.index(UNKNOWN) in specials:
        raise broken("an unknown token that is a special token too")
    description = describe(specials, PRE, template, named)
    value = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "post_processor": starting(description),
        **sentencepiece_json(vocabulary, description.specials),
    }
    return proved(value, description, where)


def _added(vocabulary: Vocabulary, config: Mapping[str, Any]) -> dict[int, str]:
    """The special tokens that the configuration adds, and those pieces that it calls special."""
    num_pieces = len(vocabulary.texts)
    found: dict[int, str] = {}
    for key, token in config.get("added_tokens_decoder", {}).items():
        number, text, is_special = int(key), token["content"], token.get("special", False)
        if number < num_pieces and vocabulary.texts[number] != text:
            raise ValueError(f"token {number} {text!r}, which is {vocabulary.texts[number]!r}")
        if number >= num_pieces and not is_special:
            raise ValueError(f"the added token {text!r}, which is no special one")
        if is_special and not (number < num_pieces and vocabulary.kinds[number] == UNKNOWN):
            found[number] = text
    behind = sorted(one for one in found if one >= num_pieces)
    if behind != [*range(num_pieces, num_pieces + len(behind))]:
        raise ValueError(f"added tokens {behind} behind {num_pieces} pieces")
    if len({*vocabulary.texts, *found.values()}) != num_pieces + len(behind):
        raise ValueError("an added token whose text is a piece")
    return found


def _named(vocabulary: Vocabulary, config: Mapping[str, Any], added: Mapping[int, str]) -> Named:
    known = {text: number for number, text in [*enumerate(vocabulary.texts), *added.items()]}

    def token_id(name: str) -> int | None:
        if f"{name}_token" not in config:
            return vocabulary.named[name]
        token = config[f"{name}_token"]
        text = token["content"] if isinstance(token, dict) else token
        if text is not None and text not in known:
            raise ValueError(f"no {name}_token {text!r}")
        return None if text is None else known[text]

    bos_id, pad_id = token_id("bos"), token_id("pad")
    if pad_id is not None and vocabulary.kinds[pad_id : pad_id + 1] == (UNKNOWN,):
        pad_id = None  # padding is never read; text that is unknown must not look like it
    adds_bos = config.get("add_bos_token", True) is True and bos_id is not None
    return Named(token_id("eos"), bos_id, pad_id, adds_bos)
