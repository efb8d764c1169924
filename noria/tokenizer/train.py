"""Train a tokenizer: byte-level BPE, Unigram or WordPiece.

In: texts and a vocabulary size. Out: `tokenizer.json` (the format of the tokenizers library, which
Hugging Face reads) and `tokenizer_meta.json`. This module does not know where the texts come from.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import pre_tokenizers, trainers

from noria.errors import UsageError
from noria.tokenizer.bytelevel import BYTE_OF_CHARACTER, spelled_bytes, spelling
from noria.tokenizer.description import OUR_PRE, OUR_SHORT_PRE, description_json, our_description
from noria.tokenizer.kinds import CONTINUING, DECODERS, MODEL_TYPES, PRES
from noria.tokenizer.pretokenizers import MAX_SHORT_PIECE_BYTES, PIECES, PRE_TOKENIZERS
from noria.tokenizer.specials import CHAT_FORMATS, META_FILE, SPECIALS, TOKENIZER_FILE
from noria.tokenizer.unigram import MAX_PIECE_BYTES, train_unigram

MIN_VOCAB_SIZE = 300  # 256 bytes, the specials, and room for a few merges
MAX_TOKEN_BYTES = 32  # longer tokens are memorised passages, not words
MIN_PAIR_COUNT = 2  # a pair seen once says nothing about the language


COUNTED_TEXTS = 64  # at least so many are encoded again, one in so many where there are more:
# all of them took as long as the training
_BEGINNING = "▁"  # before a piece while a WordPiece vocabulary is learned; no byte's character
_CANDIDATES = 4  # times the size that is asked for: what a Unigram vocabulary is chosen from


def train_tokenizer(
    texts: Iterable[str], vocab_size: int, out: Path, chat_format: str, kind: str = "bpe"
) -> dict[str, Any]:
    """Train on texts and write the tokenizer's two files into `out`; returns the facts.

    kind: "bpe", "unigram" or "wordpiece"; each gives every text back, for all three stand on the
    256 bytes. Facts: vocab_size (reached; smaller than asked where the texts are too few),
    num_texts, num_bytes of the texts, and bytes_per_token, of 64 texts or every 64th. The same
    texts in the same order give the same bytes on disk. Raises UsageError for a vocabulary below
    300 (556 for WordPiece), an unknown kind or chat format, or no text at all.
    """
    _check(vocab_size, chat_format, kind)
    kept = [text for text in texts if text]
    if not kept:
        raise UsageError("no text to train a tokenizer on", "at least one document", "add text")
    trained = {"bpe": _bpe, "unigram": _unigram, "wordpiece": _wordpiece}[kind]
    tokenizer = trained(kept, vocab_size)
    counted = kept[:: max(1, min(COUNTED_TEXTS, len(kept) // COUNTED_TEXTS))]
    facts = {
        "vocab_size": tokenizer.get_vocab_size(),
        "num_texts": len(kept),
        "num_bytes": _num_bytes(kept),
        "bytes_per_token": _num_bytes(counted) / _count_tokens(tokenizer, counted),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / TOKENIZER_FILE).write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
    meta = description_json(our_description(chat_format, PRES.get(kind, OUR_PRE)))
    (out / META_FILE).write_text(json.dumps(meta, indent=1), encoding="utf-8")
    return facts


def _check(vocab_size: int, chat_format: str, kind: str) -> None:
    if kind not in MODEL_TYPES:
        raise UsageError(f"a tokenizer of kind {kind!r}", "one of " + ", ".join(MODEL_TYPES))
    least = MIN_VOCAB_SIZE + 256 * (kind == "wordpiece")  # every byte also within a piece
    if vocab_size < least:
        raise UsageError(
            f"a {kind} vocabulary of {vocab_size} tokens",
            f"at least {least}",
            "set tokenizer.vocab_size higher",
        )
    if chat_format not in CHAT_FORMATS:
        raise UsageError(f"chat format {chat_format!r}", "one of " + ", ".join(CHAT_FORMATS))


def _bpe(
    texts: list[str], vocab_size: int, mark: pre_tokenizers.PreTokenizer | None = None
) -> tokenizers.Tokenizer:
    """Byte-level BPE (Sennrich et al. 2016, Radford et al. 2019); `mark` changes each piece."""
    tokenizer = _empty({"type": "BPE", "vocab": {}, "merges": []}, "bpe", OUR_PRE)
    if mark is not None:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([tokenizer.pre_tokenizer, mark])
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=MIN_PAIR_COUNT,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=MAX_TOKEN_BYTES,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _unigram(texts: list[str], vocab_size: int) -> tokenizers.Tokenizer:
    """Unigram, its candidates the tokens of a larger BPE."""
    larger = _bpe(texts, _CANDIDATES * vocab_size).get_vocab()
    candidates = [spelled_bytes(one) for one in larger if one not in SPECIALS]
    found = train_unigram(_piece_counts(texts), candidates, vocab_size - len(SPECIALS))
    # A special token's score is never read: no piece of a text is one (kinds.forged).
    scores = [[text, 0.0] for text in SPECIALS]
    scores += [[spelling(token), score] for token, score in found]
    model = {"type": "Unigram", "unk_id": None, "vocab": scores, "byte_fallback": False}
    return _empty(model, "unigram", OUR_PRE)


def _piece_counts(texts: list[str]) -> Counter[bytes]:
    """How often each piece stands in the texts; longer ones are cut between characters."""
    cut = pre_tokenizers.Split(tokenizers.Regex(PIECES), behavior="isolated")
    counts: Counter[bytes] = Counter()
    whole = Counter(piece for text in texts for piece, _ in cut.pre_tokenize_str(text))
    for piece, count in whole.items():
        rest = piece.encode("utf-8")
        while rest:
            head = rest[:MAX_PIECE_BYTES].decode("utf-8", "ignore").encode("utf-8")
            counts[head] += count
            rest = rest[len(head) :]
    return counts


def _wordpiece(texts: list[str], vocab_size: int) -> tokenizers.Tokenizer:
    """WordPiece: the tokens that BPE learns where the beginning of a piece is marked."""
    mark = pre_tokenizers.Metaspace(_BEGINNING, prepend_scheme="always", split=False)
    learned = _bpe(texts, vocab_size, mark).get_vocab()
    alphabet = sorted(BYTE_OF_CHARACTER)
    tokens = [*SPECIALS, *alphabet, *(CONTINUING + one for one in alphabet)]
    for token in sorted(learned, key=learned.__getitem__):
        bare = token.removeprefix(_BEGINNING)
        if len(bare) > 1 and bare not in SPECIALS and len(tokens) < vocab_size:
            tokens.append(bare if token.startswith(_BEGINNING) else CONTINUING + bare)
    model = {
        "type": "WordPiece",
        "unk_token": "",  # there is none: an unknown piece would be an error, and never is
        "continuing_subword_prefix": CONTINUING,
        "max_input_chars_per_word": MAX_SHORT_PIECE_BYTES,
        "vocab": {token: number for number, token in enumerate(tokens)},
    }
    return _empty(model, "wordpiece", OUR_SHORT_PRE)


def _empty(model: dict[str, Any], kind: str, pre: str) -> tokenizers.Tokenizer:
    """A tokenizer around a model, with our special tokens where the model has them.

    No normaliser: what is encoded must decode to the same text, byte for byte.
    """
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [
        {"id": number, "content": text, **flags, "special": True}
        for number, text in enumerate(SPECIALS)
    ]
    value = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added if model["vocab"] else [],
        "normalizer": None,
        "pre_tokenizer": PRE_TOKENIZERS[pre],
        "post_processor": None,
        "decoder": DECODERS[kind],
        "model": model,
    }
    return tokenizers.Tokenizer.from_str(json.dumps(value))


def _num_bytes(texts: list[str]) -> int:
    return sum(len(text.encode("utf-8")) for text in texts)


def _count_tokens(tokenizer: tokenizers.Tokenizer, texts: list[str]) -> int:
    tokenizer.encode_special_tokens = True
    return sum(
        len(encoding.ids)
        for batch in _batches(texts)
        for encoding in tokenizer.encode_batch_fast(batch, add_special_tokens=False)
    )


def _batches(texts: list[str], size: int = 512) -> Iterator[list[str]]:
    return (texts[start : start + size] for start in range(0, len(texts), size))
