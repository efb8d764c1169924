"""Our byte-level BPE over small letters: how an encoder from scratch reads texts to classify.

In: texts to learn a vocabulary from, or a folder. Out: ids. Frequent Chinese words become pieces,
as words of other scripts do, which few titles teach better than characters (docs/log.md); no
character is unknown. An encoder that writes nothing needs no capitals back.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import final

from noria.errors import FormatError
from noria.tokenizer.load import Tokenizer, load_tokenizer
from noria.tokenizer.specials import (
    END_ID,
    PAD_ID,
    SPECIALS,
    TOKENIZER_FILES,
    TURN_END_ID,
    TURN_START_ID,
)
from noria.tokenizer.train import MIN_VOCAB_SIZE, train_tokenizer


@final
class LoweredTokenizer:
    """A vocabulary of ours, its special tokens in an encoder's offices, and its two files."""

    def __init__(self, inner: Tokenizer, files: tuple[bytes, ...]) -> None:
        self._inner, self._files = inner, files
        self.begin_id, self.end_id = END_ID, TURN_END_ID
        self.pad_id, self.mask_id = PAD_ID, TURN_START_ID

    @property
    def vocab_size(self) -> int:
        """How many ids there are, the special ones included."""
        return self._inner.vocab_size

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text in small letters, without marks; none for an empty one."""
        return self._inner.encode_batch([text.lower().strip() for text in texts])

    def save(self, folder: Path) -> None:
        """Write tokenizer.json and tokenizer_meta.json into an existing folder."""
        for name, data in zip(TOKENIZER_FILES, self._files, strict=True):
            (folder / name).write_bytes(data)


def train_lowered_tokenizer(texts: Sequence[str], vocab_size: int) -> LoweredTokenizer:
    """Learn a vocabulary of at most so many pieces, 300 at least; the same texts give the same.

    Raises UsageError without any text.
    """
    small = (text.lower().strip() for text in texts)
    with tempfile.TemporaryDirectory() as name:
        train_tokenizer(small, max(vocab_size, MIN_VOCAB_SIZE), Path(name), "plain")
        return load_lowered_tokenizer(Path(name))


def load_lowered_tokenizer(folder: Path) -> LoweredTokenizer:
    """Read one back. Raises FormatError if a file is missing or of another tokenizer than ours."""
    inner = load_tokenizer(folder)
    if dict(inner.specials) != dict(enumerate(SPECIALS)):
        raise FormatError(
            f"{folder}: a tokenizer with the special tokens {sorted(inner.specials.values())[:8]}",
            "one that was trained for an encoder",
            "train the encoder again",
        )
    return LoweredTokenizer(inner, tuple((folder / name).read_bytes() for name in TOKENIZER_FILES))
