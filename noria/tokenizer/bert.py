"""BERT's way from text to ids: letters small if so wished, each Chinese character by itself, the
longest known piece of a word first.

In: a folder with such a `tokenizer.json`, or texts to learn a vocabulary from. Out: the ids of
texts, for encoders: case, accents and spaces are lost, so that no text comes back from its ids and
no model that writes reads this. Devlin et al. 2018; its program's "basic" and "WordPiece" steps, as
the library `tokenizers` has them. Of a file that came with a model only this one form is read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import tokenizers
from tokenizers import trainers

from noria.errors import FormatError, UsageError
from noria.tokenizer.load import MAX_TOKENIZER_BYTES, whole_text
from noria.tokenizer.specials import TOKENIZER_FILE

PAD, UNKNOWN, BEGIN, END, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
MARKS = (PAD, UNKNOWN, BEGIN, END, MASK)  # position = id where we train
MIN_VOCAB_SIZE = 16
MIN_PIECE_COUNT = 2  # a piece seen once says nothing
_CONTINUING = "##"
_NORMALIZER = ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase")
_FIX = "choose a BERT of this layout, or train an encoder from scratch"


@final
class BertTokenizer:
    """A WordPiece vocabulary with BERT's five marks, which no text can spell."""

    def __init__(self, inner: tokenizers.Tokenizer, marks: Mapping[str, int]) -> None:
        self._inner = inner
        self._inner.encode_special_tokens = True  # "[MASK]" in a user's text is text
        self.marks = dict(marks)
        self.pad_id, self.mask_id = marks[PAD], marks[MASK]
        self.begin_id, self.end_id = marks[BEGIN], marks[END]

    @property
    def vocab_size(self) -> int:
        """How many ids there are, the marks included."""
        return int(self._inner.get_vocab_size())

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, without marks around it; none for a text of spaces alone."""
        whole = [whole_text(text) for text in texts]
        found = self._inner.encode_batch_fast(whole, add_special_tokens=False)
        return [one.ids for one in found]

    def save(self, folder: Path) -> None:
        """Write tokenizer.json into an existing folder."""
        text = self._inner.to_str(pretty=True)
        (folder / TOKENIZER_FILE).write_text(text, encoding="utf-8")


def train_bert_tokenizer(
    texts: Sequence[str], vocab_size: int, *, lowercase: bool = True
) -> BertTokenizer:
    """Learn a vocabulary of at most so many pieces: every frequent character, then what they make.

    The same texts give the same vocabulary. Raises UsageError for a vocabulary below 16.
    """
    if vocab_size < MIN_VOCAB_SIZE:
        raise UsageError(f"a vocabulary of {vocab_size} pieces", f"at least {MIN_VOCAB_SIZE}")
    inner = tokenizers.Tokenizer.from_str(json.dumps(_described({}, lowercase=lowercase)))
    whole = [whole_text(text) for text in texts]
    # Numbered here: the library numbers them in the order of its hash table, another each time.
    inside = [_CONTINUING + one for one in _letters(inner, whole, vocab_size // 2)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=MIN_PIECE_COUNT,
        special_tokens=[*MARKS, *inside],
        limit_alphabet=vocab_size - len(MARKS),
        continuing_subword_prefix=_CONTINUING,
        show_progress=False,
    )
    inner.train_from_iterator(whole, trainer)
    value = json.loads(inner.to_str())
    value["added_tokens"] = [one for one in value["added_tokens"] if one["content"] in MARKS]
    return _checked(value, "the vocabulary that was trained")


def _letters(inner: tokenizers.Tokenizer, texts: Sequence[str], at_most: int) -> list[str]:
    """The characters that stand inside words, the most frequent ones, in their own order."""
    counts: Counter[str] = Counter()
    for text in texts:
        words = inner.pre_tokenizer.pre_tokenize_str(inner.normalizer.normalize_str(text))
        counts.update(character for word, _ in words for character in word[1:])
    frequent = sorted(counts, key=lambda one: (-counts[one], one))
    return sorted(frequent[:at_most])


def load_bert_tokenizer(folder: Path) -> BertTokenizer:
    """Read the tokenizer of a folder: ours, or of a BERT in Hugging Face's layout.

    Raises FormatError if the file is missing, unreadable or of another kind.
    """
    path = folder / TOKENIZER_FILE
    try:
        if path.stat().st_size > MAX_TOKENIZER_BYTES:
            raise ValueError(f"larger than {MAX_TOKENIZER_BYTES} bytes")
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"{path} can't be read ({error})", "a tokenizer", _FIX) from error
    return _checked(value, str(path))


def _described(vocab: Mapping[str, int], *, lowercase: bool) -> dict[str, Any]:
    """The JSON of a tokenizer of this kind. Accents go where capitals do, as in BERT's program."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [{"id": vocab[one], "content": one, **flags, "special": True} for one in MARKS if vocab]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": sorted(added, key=lambda one: one["id"]),
        "normalizer": {
            "type": "BertNormalizer",
            **dict.fromkeys(_NORMALIZER[:2], True),
            "strip_accents": None,
            "lowercase": lowercase,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": None,
        "decoder": {"type": "WordPiece", "prefix": _CONTINUING, "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": UNKNOWN,
            "continuing_subword_prefix": _CONTINUING,
            "max_input_chars_per_word": 100,
            "vocab": dict(vocab),
        },
    }


def _checked(value: Any, where: str) -> BertTokenizer:
    """Build the tokenizer anew from what is allowed to differ, if all else is BERT's."""
    try:
        vocab, normalizer = value["model"]["vocab"], value["normalizer"]
        lowercase = normalizer["lowercase"]
        wanted = _described(vocab, lowercase=lowercase)
        for name in ("normalizer", "pre_tokenizer", "model"):
            if value[name] != wanted[name]:
                raise ValueError(f"its {name} is not BERT's")
        if sorted(vocab.values()) != list(range(len(vocab))):
            raise ValueError("its ids have gaps")
        if any(one["content"] not in MARKS for one in value["added_tokens"]):
            raise ValueError("it has special tokens beside BERT's")
        inner = tokenizers.Tokenizer.from_str(json.dumps(wanted))
    except Exception as error:  # the library raises nothing narrower than Exception
        raise FormatError(
            f"{where} can't be read ({error})", "BERT's WordPiece, its five marks in it", _FIX
        ) from error
    return BertTokenizer(inner, {mark: vocab[mark] for mark in MARKS})
