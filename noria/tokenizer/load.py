"""Load a tokenizer: the one path from text to ids and back for every stage.

In: a folder with `tokenizer.json` and `tokenizer_meta.json`. Out: a Tokenizer.
This module does not know what the ids are used for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, final

import tokenizers

from noria.errors import FormatError, UsageError
from noria.tokenizer.bytelevel import spelled_bytes
from noria.tokenizer.specials import (
    CHAT_FORMATS,
    END_ID,
    META_FILE,
    PAD_ID,
    SPECIALS,
    TOKENIZER_FILE,
    TOKENIZER_FORMAT,
)

MAX_TOKENIZER_BYTES = 64 << 20  # far above a vocabulary of 262,144


@final
class Tokenizer:
    """Byte-level BPE with four special tokens, which text can never spell."""

    def __init__(self, inner: tokenizers.Tokenizer, chat_format: str) -> None:
        self._inner = inner
        # "<|im_end|>" in a user's text is text: only this package writes special ids.
        self._inner.encode_special_tokens = True
        self._bytes = _vocabulary_bytes(inner)
        self.chat_format = chat_format
        self.end_id = END_ID
        self.pad_id = PAD_ID

    @property
    def vocab_size(self) -> int:
        """How many ids there are, special ones included."""
        return len(self._bytes)

    def encode(self, text: str) -> list[int]:
        """Turn text into ids; never a special one."""
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Turn many texts into ids, faster than one by one."""
        whole = [_whole(text) for text in texts]
        encodings = self._inner.encode_batch_fast(whole, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids into text: special ids say nothing, torn UTF-8 becomes U+FFFD.

        Raises UsageError for an id outside the vocabulary.
        """
        return b"".join(self.token_bytes(one) for one in ids).decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of one token, none for a special one. Raises UsageError for an unknown id."""
        if not 0 <= token_id < len(self._bytes):
            raise UsageError(f"token id {token_id}", f"0 to {len(self._bytes) - 1}")
        return self._bytes[token_id]

    def num_bytes(self, text: str) -> int:
        """Length of a text in bytes of UTF-8."""
        return len(_whole(text).encode("utf-8"))


def _whole(text: str) -> str:
    """The text with half surrogate pairs (which JSON can smuggle in) made U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _vocabulary_bytes(inner: tokenizers.Tokenizer) -> list[bytes]:
    """Bytes of every id. Raises FormatError if the vocabulary is not of our layout."""
    vocabulary = {index: token for token, index in inner.get_vocab().items()}
    expected = "a byte-level BPE written by noria"
    if sorted(vocabulary) != list(range(len(vocabulary))):
        raise FormatError("a vocabulary with gaps", expected, "train the tokenizer again")
    if tuple(vocabulary.get(index) for index in range(len(SPECIALS))) != SPECIALS:
        raise FormatError(
            "a vocabulary without the special tokens first",
            ", ".join(SPECIALS),
            "train the tokenizer again",
        )
    try:
        words = [spelled_bytes(vocabulary[i]) for i in range(len(SPECIALS), len(vocabulary))]
    except KeyError as error:
        raise FormatError(
            f"a token with the character {error}", expected, "train the tokenizer again"
        ) from error
    if len({word for word in words if len(word) == 1}) != 256:
        raise FormatError("a vocabulary without all 256 bytes", expected, "train it again")
    return [b""] * len(SPECIALS) + words


def load_tokenizer(folder: Path) -> Tokenizer:
    """Load the tokenizer of a folder (a tokenizer's or a model's).

    Raises FormatError if a file is missing, unreadable, of another format or another layout.
    """
    meta = _read_meta(folder / META_FILE)
    path = folder / TOKENIZER_FILE
    try:
        if path.stat().st_size > MAX_TOKENIZER_BYTES:
            raise ValueError(f"larger than {MAX_TOKENIZER_BYTES} bytes")
        text = path.read_bytes().decode("utf-8")
        kinds = _component_kinds(json.loads(text))
        inner = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing narrower than Exception
        raise FormatError(
            f"{path} can't be read ({error})", "a tokenizer", "train the tokenizer again"
        ) from error
    if kinds != {"model": "BPE", "normalizer": "", "decoder": "ByteLevel"}:
        raise FormatError(
            f"{path} holds {kinds}",
            "a byte-level BPE without normaliser",
            "train the tokenizer again",
        )
    return Tokenizer(inner, meta["chat_format"])


def _component_kinds(value: dict[str, Any]) -> dict[str, str]:
    return {
        name: (value[name] or {}).get("type", "") for name in ("model", "normalizer", "decoder")
    }


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        meta: dict[str, Any] = json.loads(path.read_bytes())
        version, chat_format = meta["format"], meta["chat_format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"{path} can't be read ({error})", "a tokenizer's description", "train it again"
        ) from error
    if version != TOKENIZER_FORMAT or chat_format not in CHAT_FORMATS:
        raise FormatError(
            f"{path}: format {version!r}, chat format {chat_format!r}",
            f"format {TOKENIZER_FORMAT}, chat format {' or '.join(CHAT_FORMATS)}",
            "train the tokenizer again",
        )
    return meta
