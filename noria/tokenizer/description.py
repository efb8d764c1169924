"""What `tokenizer_meta.json` says of a tokenizer: its chat format and its special tokens.

In: the file's JSON. Out: a checked Description. It knows nothing of the vocabulary itself.

    format       2; format 1 says only `chat_format`, and means the four tokens of our own
    chat_format  a name from the list of formats
    pre          the pre-tokenizer: llama.cpp's name for it, "noria" or "noria-short"
    end_id       between documents: every sequence of a shard ends with it
    eos_id       what the model itself ends with; bos_id: what may begin a sequence, or null
    pad_id       fills a batch
    turn_end_id  ends an assistant's turn
    start_ids    stand before every sequence and chat, as the model was trained
    stop_ids     end an answer
    specials     id -> text of every token that no text can spell
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from noria.errors import FormatError
from noria.tokenizer.formats import FORMATS
from noria.tokenizer.specials import (
    CHAT_FORMATS,
    END_ID,
    PAD_ID,
    SPECIALS,
    TOKENIZER_FORMAT,
    TURN_END_ID,
)

OUR_PRE = "noria"
OUR_SHORT_PRE = "noria-short"  # the same, with pieces of at most 24 characters
MAX_META_BYTES = 1 << 20


@dataclass(frozen=True)
class Description:
    """A tokenizer's special tokens and chat format; every id in it is one of `specials`."""

    chat_format: str
    pre: str
    end_id: int
    eos_id: int
    bos_id: int | None
    pad_id: int
    turn_end_id: int
    start_ids: tuple[int, ...]
    stop_ids: frozenset[int]
    specials: Mapping[int, str]


def our_description(chat_format: str, pre: str = OUR_PRE) -> Description:
    """The description of a tokenizer that we trained."""
    turn_end_id = TURN_END_ID if chat_format == "chatml" else END_ID
    return Description(
        chat_format=chat_format,
        pre=pre,
        end_id=END_ID,
        eos_id=END_ID,
        bos_id=None,
        pad_id=PAD_ID,
        turn_end_id=turn_end_id,
        start_ids=(END_ID,),
        stop_ids=frozenset({END_ID, turn_end_id}),
        specials=MappingProxyType(dict(enumerate(SPECIALS))),
    )


def description_json(description: Description) -> dict[str, Any]:
    """The JSON object that is stored."""
    return {
        "format": TOKENIZER_FORMAT,
        "chat_format": description.chat_format,
        "pre": description.pre,
        "end_id": description.end_id,
        "eos_id": description.eos_id,
        "bos_id": description.bos_id,
        "pad_id": description.pad_id,
        "turn_end_id": description.turn_end_id,
        "start_ids": list(description.start_ids),
        "stop_ids": sorted(description.stop_ids),
        "specials": {str(key): text for key, text in sorted(description.specials.items())},
    }


def parse_description(value: Any, where: str) -> Description:
    """Check a stored description. Raises FormatError naming what is wrong with it."""
    try:
        return _parse(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(
            f"{where}: {error}",
            f"a tokenizer's description of format {TOKENIZER_FORMAT} or 1",
            "train the tokenizer again, or import its model again",
        ) from error


def read_description(path: Path) -> Description:
    """Read a description. Raises FormatError if it can't be read or is of another format."""
    try:
        if path.stat().st_size > MAX_META_BYTES:
            raise ValueError(f"larger than {MAX_META_BYTES} bytes")
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(
            f"{path} can't be read ({error})",
            "a tokenizer's description",
            "train the tokenizer again, or import its model again",
        ) from error
    return parse_description(value, str(path))


def _parse(value: Any) -> Description:
    version, chat_format = value["format"], value["chat_format"]
    if version == 1 and chat_format in CHAT_FORMATS:
        return our_description(chat_format)
    if version != TOKENIZER_FORMAT or chat_format not in FORMATS:
        raise ValueError(f"format {version!r}, chat format {chat_format!r}")
    specials = {int(key): text for key, text in value["specials"].items()}
    if not all(isinstance(text, str) and text for text in specials.values()):
        raise ValueError("a special token without text")
    missing = set(FORMATS[chat_format].required) - set(specials.values())
    if missing:
        raise ValueError(f"{chat_format} without the special tokens {sorted(missing)}")
    bos_id = value["bos_id"]
    if bos_id is None and FORMATS[chat_format].needs_bos:
        raise ValueError(f"{chat_format} without a token that begins a sequence")
    description = Description(
        chat_format=chat_format,
        pre=str(value["pre"]),
        end_id=_special(value["end_id"], specials),
        eos_id=_special(value["eos_id"], specials),
        bos_id=None if bos_id is None else _special(bos_id, specials),
        pad_id=_special(value["pad_id"], specials),
        turn_end_id=_special(value["turn_end_id"], specials),
        start_ids=tuple(_special(one, specials) for one in value["start_ids"]),
        stop_ids=frozenset(_special(one, specials) for one in value["stop_ids"]),
        specials=MappingProxyType(specials),
    )
    if not {description.end_id, description.turn_end_id} <= description.stop_ids:
        raise ValueError("an end token that does not stop an answer")
    return description


def _special(token_id: Any, specials: Mapping[int, str]) -> int:
    if type(token_id) is not int or token_id not in specials:
        raise ValueError(f"{token_id!r} is no special token's id")
    return token_id
