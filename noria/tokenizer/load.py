"""Load a tokenizer: the one path from text to ids and back for every stage.

In: a folder with `tokenizer.json` and `tokenizer_meta.json`. Out: a Tokenizer.
This module does not know what the ids are used for, nor where a tokenizer came from.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import final

import tokenizers

from noria.errors import FormatError, UsageError
from noria.tokenizer.bytelevel import spelled_bytes
from noria.tokenizer.description import (
    OUR_PRE,
    OUR_SHORT_PRE,
    Description,
    read_description,
)
from noria.tokenizer.kinds import CONTINUING, forged, kind_of
from noria.tokenizer.specials import META_FILE, TOKENIZER_FILE, TOKENIZER_FILES

MAX_TOKENIZER_BYTES = 64 << 20  # far above a vocabulary of 262,144

# What a foreign vocabulary may lack: most control characters, bytes that UTF-8 never has, and those
# that begin characters of planes 4 to 11 and 16, which hold no text. The model it came with never
# saw them; they are dropped from a text, as transformers and llama.cpp do.
_RARE_BYTES = frozenset({*range(0x20), 0x7F, 0xC0, 0xC1, 0xF1, 0xF2, *range(0xF4, 0x100)}) - set(
    b"\t\n\r"
)

_FIX = "train the tokenizer again, or import its model again"


@final
class Tokenizer:
    """A vocabulary over bytes with special tokens, which text can never spell.

    What the ids mean is stated by its Description; see there for each of the attributes.
    """

    def __init__(self, inner: tokenizers.Tokenizer, description: Description) -> None:
        self._inner = inner
        # "<|im_end|>" in a user's text is text: only this package writes special ids.
        self._inner.encode_special_tokens = True
        self._bytes = _vocabulary_bytes(inner, description.specials)
        self._unspelled = bytes(
            _missing_bytes(self._bytes, description.pre in (OUR_PRE, OUR_SHORT_PRE))
        )
        self.description = description
        self.chat_format = description.chat_format
        self.pre = description.pre
        self.end_id = description.end_id
        self.eos_id = description.eos_id
        self.bos_id = description.bos_id
        self.pad_id = description.pad_id
        self.turn_end_id = description.turn_end_id
        self.start_ids = description.start_ids
        self.stop_ids = description.stop_ids
        self.specials = description.specials

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

    def num_spelled_bytes(self, text: str) -> int:
        """Length of what the ids of a text decode to: without the bytes that no token has."""
        return len(_whole(text).encode("utf-8").translate(None, self._unspelled))


def _whole(text: str) -> str:
    """The text with half surrogate pairs (which JSON can smuggle in) made U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _vocabulary_bytes(inner: tokenizers.Tokenizer, specials: Mapping[int, str]) -> list[bytes]:
    """Bytes of every id. Raises FormatError if the vocabulary does not fit the description."""
    vocabulary = {index: token for token, index in inner.get_vocab().items()}
    if sorted(vocabulary) != list(range(len(vocabulary))):
        raise FormatError("a vocabulary with gaps", "a vocabulary over bytes", _FIX)
    added = inner.get_added_tokens_decoder()
    marked = {index: token.content for index, token in added.items() if token.special}
    if marked != dict(specials):
        raise FormatError(
            "a vocabulary whose special tokens are not those of its description",
            _few(specials.values()),
            _FIX,
        )
    try:
        words = [
            b""
            if index in specials
            else vocabulary[index].encode("utf-8")
            if index in added
            else spelled_bytes(vocabulary[index].removeprefix(CONTINUING))
            for index in range(len(vocabulary))
        ]
    except KeyError as error:
        raise FormatError(
            f"a token with the character {error}", "a vocabulary over bytes", _FIX
        ) from error
    return words


def _missing_bytes(words: Iterable[bytes], is_ours: bool) -> list[int]:
    """The bytes that no token spells. Raises FormatError if ordinary text has some of them."""
    present = {word[0] for word in words if len(word) == 1}
    missing = [byte for byte in range(256) if byte not in present]
    if missing and (is_ours or not _RARE_BYTES.issuperset(missing)):
        raise FormatError("a vocabulary without all 256 bytes", "a vocabulary over bytes", _FIX)
    return missing


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:8]) + (" …" if len(listed) > 8 else "")


def load_tokenizer(folder: Path) -> Tokenizer:
    """Load the tokenizer of a folder (a tokenizer's or a model's).

    Raises FormatError if a file is missing, unreadable, of another format or another layout.
    """
    description = read_description(folder / META_FILE)
    path = folder / TOKENIZER_FILE
    try:
        if path.stat().st_size > MAX_TOKENIZER_BYTES:
            raise ValueError(f"larger than {MAX_TOKENIZER_BYTES} bytes")
        text = path.read_bytes().decode("utf-8")
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} can't be read ({error})", "a tokenizer", _FIX) from error
    return build_tokenizer(text, description, str(path))


def copy_tokenizer(folder: Path, out: Path) -> None:
    """Put a tokenizer's files, as they are, into another folder (a model's)."""
    for name in TOKENIZER_FILES:
        shutil.copyfile(folder / name, out / name)


def build_tokenizer(text: str, description: Description, where: str) -> Tokenizer:
    """A tokenizer from the text of its `tokenizer.json`.

    Raises FormatError if it is no vocabulary over bytes, does not fit its description, or if some
    text could spell a special token.
    """
    try:
        value = json.loads(text)
        kind = kind_of(value, where)
        inner = tokenizers.Tokenizer.from_str(text)
    except FormatError:
        raise
    except Exception as error:  # the library raises nothing narrower than Exception
        raise FormatError(f"{where} can't be read ({error})", "a tokenizer", _FIX) from error
    tokenizer = Tokenizer(inner, description)
    reached = forged(kind, value["model"], inner, set(description.specials.values()))
    if reached:
        raise FormatError(
            f"{where}: text can spell the special tokens {_few(sorted(reached))}",
            "special tokens that no text reaches",
            _FIX,
        )
    return tokenizer
