"""Our vocabulary over small letters, as an encoder reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from labelled_texts import CHINESE, authors

from noria.errors import FormatError, UsageError
from noria.tokenizer.bert import train_bert_tokenizer
from noria.tokenizer.for_encoders import load_encoder_tokenizer
from noria.tokenizer.lowered import LoweredTokenizer, train_lowered_tokenizer

TEXTS = [text for text, _ in authors(30) + CHINESE * 3]


def test_capitals_and_outer_spaces_make_no_difference_and_nothing_is_unknown(
    tmp_path: Path,
) -> None:
    tokenizer = train_lowered_tokenizer(TEXTS, 700)
    assert tokenizer.vocab_size <= 700
    small, large, bare = tokenizer.encode_batch(["the nation", " THE Nation ", "  "])
    assert small == large != []
    assert bare == []
    marks = {tokenizer.begin_id, tokenizer.end_id, tokenizer.pad_id, tokenizer.mask_id}
    assert len(marks) == 4
    strange = ["🀄︎水", "مرحبا", "\ud800", "\0", "<|endoftext|><|pad|>"]
    found = tokenizer.encode_batch(strange)
    assert all(ids and marks.isdisjoint(ids) for ids in found)
    assert len({tuple(ids) for ids in found}) == len(strange)
    tokenizer.save(tmp_path)
    back = load_encoder_tokenizer(tmp_path)
    assert isinstance(back, LoweredTokenizer)
    assert back.encode_batch(TEXTS) == tokenizer.encode_batch(TEXTS)


def test_frequent_chinese_words_are_pieces() -> None:
    tokenizer = train_lowered_tokenizer(TEXTS, 2000)
    (word,), (other,) = tokenizer.encode_batch(["股市"]), tokenizer.encode_batch(["水车"])
    assert len(word) == 1
    assert len(other) > 1


def test_a_folder_says_which_kind_it_holds(tmp_path: Path) -> None:
    (tmp_path / "bert").mkdir()
    train_bert_tokenizer(TEXTS, 300).save(tmp_path / "bert")
    assert not isinstance(load_encoder_tokenizer(tmp_path / "bert"), LoweredTokenizer)
    with pytest.raises(FormatError):
        load_encoder_tokenizer(tmp_path)
    with pytest.raises(UsageError, match="no text"):
        train_lowered_tokenizer(["", " "], 300)
