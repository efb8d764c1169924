"""Load a tokenizer: the one path from text to ids and back for every stage.

In: a folder with `tokenizer.json` and `tokenizer_meta.json`. Out: a Tokenizer.
This module does not know what the ids are used for, nor where a tokenizer came from.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, final

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
from noria.tokenizer.sentencepiece_json import piece_bytes, spelling_of
from noria.tokenizer.sentencepiece_text import Spelling
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
    """A vocabulary over bytes, or one of SentencePiece, with special tokens that no text spells.

    words: the bytes of every id. spelling: how a SentencePiece vocabulary has text; None where it
    is over bytes. What the ids mean is stated by its Description; see there for its attributes.
    """

    def __init__(
        self,
        inner: tokenizers.Tokenizer,
        description: Description,
        words: Sequence[bytes],
        spelling: Spelling | None = None,
    ) -> None:
        self._inner = inner
        # "<|im_end|>" in a user's text is text: only this package writes special ids.
        self._inner.encode_special_tokens = True
        self._bytes = words
        self._spelling = spelling
        is_ours = description.pre in (OUR_PRE, OUR_SHORT_PRE)
        self._unspelled = b"" if spelling else bytes(_missing_bytes(words, is_ours))
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

    def encode(self, text: str, continues: bool = False) -> list[int]:
        """Turn text into ids; never a special one.

        continues: it follows upon text that was encoded before, so that a vocabulary which puts a
        space before every text puts none here.
        """
        if self._spelling is None or not continues:
            return self.encode_batch([text])[0]
        return self._ids([self._spelling.write(whole_text(text), continues=True)])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Turn many texts into ids, faster than one by one."""
        whole = [whole_text(text) for text in texts]
        return self._ids(
            [self._spelling.write(text) for text in whole] if self._spelling else whole
        )

    def encode_placed(self, text: str) -> tuple[list[int], list[int]]:
        """Ids of a text, and where in its bytes each begins.

        The bytes are those of UTF-8 without those that no token has (`num_spelled_bytes`).
        """
        if self._spelling is None:
            ids = self.encode(text)
            return ids, list(accumulate((len(self._bytes[one]) for one in ids), initial=0))[:-1]
        whole = whole_text(text)
        found = self._inner.encode(self._spelling.write(whole), add_special_tokens=False)
        offsets = list(accumulate((len(one.encode("utf-8")) for one in whole), initial=0))
        places = self._spelling.places(whole)
        return found.ids, [offsets[places[start]] for start, _ in found.offsets]

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids into text: special ids say nothing, torn UTF-8 becomes U+FFFD.

        The space that a vocabulary puts before every text is left out again. Raises UsageError for
        an id outside the vocabulary.
        """
        text = b"".join(self.token_bytes(one) for one in ids).decode("utf-8", "replace")
        return text.removeprefix(" ") if self._spelling and self._spelling.adds_prefix else text

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of one token, none for a special one. Raises UsageError for an unknown id."""
        if not 0 <= token_id < len(self._bytes):
            raise UsageError(f"token id {token_id}", f"0 to {len(self._bytes) - 1}")
        return self._bytes[token_id]

    def num_bytes(self, text: str) -> int:
        """Length of a text in bytes of UTF-8."""
        return len(whole_text(text).encode("utf-8"))

    def num_spelled_bytes(self, text: str) -> int:
        """Length of what the ids of a text stand for: without the bytes that no token has."""
        return len(whole_text(text).encode("utf-8").translate(None, self._unspelled))

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        encodings = self._inner.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]


def whole_text(text: str) -> str:
    """The text with half surrogate pairs (which JSON can smuggle in) made U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _vocabulary(inner: tokenizers.Tokenizer, specials: Mapping[int, str]) -> list[str]:
    """The token of every id. Raises FormatError if the vocabulary does not fit the description."""
    vocabulary = {index: token for token, index in inner.get_vocab().items()}
    if sorted(vocabulary) != list(range(len(vocabulary))):
        raise FormatError("a vocabulary with gaps", "one token for each id", _FIX)
    added = inner.get_added_tokens_decoder()
    marked = {index: token.content for index, token in added.items() if token.special}
    if marked != dict(specials):
        raise FormatError(
            "a vocabulary whose special tokens are not those of its description",
            _few(specials.values()),
            _FIX,
        )
    return [vocabulary[index] for index in range(len(vocabulary))]


def _vocabulary_bytes(inner: tokenizers.Tokenizer, specials: Mapping[int, str]) -> list[bytes]:
    """The bytes of every id of a vocabulary over bytes. Raises FormatError for another."""
    added = inner.get_added_tokens_decoder()
    try:
        return [
            b""
            if index in specials
            else token.encode("utf-8")
            if index in added
            else spelled_bytes(token.removeprefix(CONTINUING))
            for index, token in enumerate(_vocabulary(inner, specials))
        ]
    except KeyError as error:
        raise FormatError(
            f"a token with the character {error}", "a vocabulary over bytes", _FIX
        ) from error


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

    Raises FormatError if it is neither a vocabulary over bytes nor one of SentencePiece, does not
    fit its description, or if some text could spell a special token.
    """
    try:
        value = json.loads(text)
        spelling = spelling_of(value)
        if spelling is not None:
            return _sentencepiece(value, description, spelling)
        kind = kind_of(value, where)
        inner = tokenizers.Tokenizer.from_str(text)
    except FormatError:
        raise
    except Exception as error:  # the library raises nothing narrower than Exception
        raise FormatError(f"{where} can't be read ({error})", "a tokenizer", _FIX) from error
    tokenizer = Tokenizer(inner, description, _vocabulary_bytes(inner, description.specials))
    reached = forged(kind, value["model"], inner, set(description.specials.values()))
    if reached:
        raise FormatError(
            f"{where}: text can spell the special tokens {_few(sorted(reached))}",
            "special tokens that no text reaches",
            _FIX,
        )
    return tokenizer


def _sentencepiece(
    value: dict[str, Any], description: Description, spelling: Spelling
) -> Tokenizer:
    """A tokenizer whose text is written by `spelling`, and never by the library's normaliser."""
    spelling.write("a")  # reads the replacements: a torn charsmap is found now
    inner = tokenizers.Tokenizer.from_str(json.dumps({**value, "normalizer": None}))
    texts = _vocabulary(inner, description.specials)
    words = piece_bytes(value, spelling, texts, description.specials)
    return Tokenizer(inner, description, words, spelling)
