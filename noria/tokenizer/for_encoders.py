"""What an encoder asks of its vocabulary, and the one of the two kinds that a folder holds.

In: a folder. Out: a tokenizer: BERT's, or one of ours over small letters. This module does not know
what the ids are used for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from noria.tokenizer.bert import load_bert_tokenizer
from noria.tokenizer.lowered import load_lowered_tokenizer
from noria.tokenizer.specials import META_FILE


class EncoderTokenizer(Protocol):
    """Texts to ids, and the marks that stand around them, behind them and for what is hidden."""

    begin_id: int
    end_id: int
    pad_id: int
    mask_id: int

    @property
    def vocab_size(self) -> int:
        """How many ids there are, the marks included."""
        ...

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, without marks."""
        ...

    def save(self, folder: Path) -> None:
        """Write its files into an existing folder."""
        ...


def load_encoder_tokenizer(folder: Path) -> EncoderTokenizer:
    """The tokenizer of an encoder's folder: ours where a description lies beside it, else BERT's.

    Raises FormatError if its files are missing, unreadable or of another kind.
    """
    if (folder / META_FILE).exists():
        return load_lowered_tokenizer(folder)
    return load_bert_tokenizer(folder)
