"""Train a byte-level BPE tokenizer.

In: texts and a vocabulary size. Out: `tokenizer.json` (the format of the tokenizers library, which
Hugging Face reads) and `tokenizer_meta.json`. This module does not know where the texts come from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from noria.errors import UsageError
from noria.tokenizer.description import description_json, our_description
from noria.tokenizer.pretokenizers import PIECES
from noria.tokenizer.specials import CHAT_FORMATS, META_FILE, SPECIALS, TOKENIZER_FILE

MIN_VOCAB_SIZE = 300  # 256 bytes, the specials, and room for a few merges
MAX_TOKEN_BYTES = 32  # longer tokens are memorised passages, not words
MIN_PAIR_COUNT = 2  # a pair seen once says nothing about the language


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, out: Path, chat_format: str
) -> dict[str, Any]:
    """Train on texts and write the tokenizer's two files into `out`; returns the facts.

    Facts: vocab_size (reached; smaller than asked where the texts are too few), num_texts,
    num_bytes of the texts and bytes_per_token, exact over all of them. The same texts in the same
    order give the same bytes on disk. Raises UsageError for a vocabulary below 300, an unknown
    chat format, or no text at all. Byte-level BPE: Sennrich et al. 2016, Radford et al. 2019.
    """
    _check(vocab_size, chat_format)
    kept = [text for text in texts if text]
    if not kept:
        raise UsageError("no text to train a tokenizer on", "at least one document", "add text")
    tokenizer = _untrained()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=MIN_PAIR_COUNT,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=MAX_TOKEN_BYTES,
        show_progress=False,
    )
    tokenizer.train_from_iterator(kept, trainer)
    num_bytes = sum(len(text.encode("utf-8")) for text in kept)
    facts = {
        "vocab_size": tokenizer.get_vocab_size(),
        "num_texts": len(kept),
        "num_bytes": num_bytes,
        "bytes_per_token": num_bytes / _count_tokens(tokenizer, kept),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / TOKENIZER_FILE).write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
    meta = description_json(our_description(chat_format))
    (out / META_FILE).write_text(json.dumps(meta, indent=1), encoding="utf-8")
    return facts


def _check(vocab_size: int, chat_format: str) -> None:
    if vocab_size < MIN_VOCAB_SIZE:
        raise UsageError(
            f"a vocabulary of {vocab_size} tokens",
            f"at least {MIN_VOCAB_SIZE}",
            "set tokenizer.vocab_size higher",
        )
    if chat_format not in CHAT_FORMATS:
        raise UsageError(f"chat format {chat_format!r}", "one of " + ", ".join(CHAT_FORMATS))


def _untrained() -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    # No normaliser: what is encoded must decode to the same text, byte for byte.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _count_tokens(tokenizer: tokenizers.Tokenizer, texts: list[str]) -> int:
    tokenizer.encode_special_tokens = True
    return sum(
        len(encoding.ids)
        for batch in _batches(texts)
        for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False)
    )


def _batches(texts: list[str], size: int = 512) -> Iterator[list[str]]:
    return (texts[start : start + size] for start in range(0, len(texts), size))
