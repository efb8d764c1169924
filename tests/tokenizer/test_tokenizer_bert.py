"""BERT's WordPiece: the published vocabulary read as the library reads it, and one of our own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers

from noria.bases.catalogue import resolve_base
from noria.errors import FormatError, UsageError
from noria.runtime import cache_folder
from noria.tokenizer.bert import MARKS, load_bert_tokenizer, train_bert_tokenizer

TEXTS = [
    "How do I get my money back?",
    "水车由河水推动，灌溉农田。wheel",
    "naïve café, ÅNGSTRÖM, 12,345.67 €",
    "😀 emoji and\ttabs\nand lines",
    "",
    "   ",
    "x" * 500,
]


@pytest.fixture(scope="module")
def published() -> Path:
    return resolve_base("all-minilm-l6-v2", Path(), cache_folder())


def test_ids_of_a_published_vocabulary_are_the_librarys(published: Path) -> None:
    theirs = tokenizers.Tokenizer.from_file(str(published / "tokenizer.json"))
    theirs.no_truncation()
    theirs.no_padding()
    ours = load_bert_tokenizer(published)
    wanted = [theirs.encode(text, add_special_tokens=False).ids for text in TEXTS]
    assert ours.encode_batch(TEXTS) == wanted
    assert (ours.begin_id, ours.end_id, ours.pad_id, ours.mask_id) == (101, 102, 0, 103)


def test_no_text_spells_a_mark_and_no_text_is_too_strange(published: Path) -> None:
    trained = train_bert_tokenizer([*TEXTS, *TEXTS, " ".join(MARKS)], 100)
    for tokenizer in (load_bert_tokenizer(published), trained):
        strange = [" ".join(MARKS), *MARKS, "\ud800 half", "\0", "a\u0301" * 1000]
        unknown = tokenizer.marks["[UNK]"]
        for ids in tokenizer.encode_batch(strange):
            assert set(ids).isdisjoint(set(tokenizer.marks.values()) - {unknown})
            assert all(0 <= one < tokenizer.vocab_size for one in ids)


def test_a_trained_vocabulary_keeps_frequent_characters_and_comes_back_from_disk(
    tmp_path: Path,
) -> None:
    texts = ["The wheel turns", "the wheels turned", "水车转动", "水车"] * 3
    tokenizer = train_bert_tokenizer(texts, 60)
    assert tokenizer.vocab_size <= 60
    small, large, water, wheel = tokenizer.encode_batch(["the", "THE", "水", "水车"])
    assert small == large
    assert len(small) == 1
    assert len(water) == 1
    assert wheel[:1] == water
    assert len(wheel) == 2, "a Chinese character stands by itself"
    tokenizer.save(tmp_path)
    assert load_bert_tokenizer(tmp_path).encode_batch(texts) == tokenizer.encode_batch(texts)
    again = train_bert_tokenizer(texts, 60)
    again.save(tmp_path)
    assert load_bert_tokenizer(tmp_path).encode_batch(texts) == tokenizer.encode_batch(texts)


def test_capitals_can_be_kept() -> None:
    tokenizer = train_bert_tokenizer(["Bush bush"] * 4, 60, lowercase=False)
    large, small = tokenizer.encode_batch(["Bush", "bush"])
    assert large != small


def test_other_kinds_are_refused(published: Path, tmp_path: Path) -> None:
    value = json.loads((published / "tokenizer.json").read_text(encoding="utf-8"))
    pattern = {"type": "Split", "pattern": {"Regex": "(a+)+"}, "behavior": "Isolated"}
    wrong = [
        value | {"pre_tokenizer": pattern},
        value | {"normalizer": None},
        value | {"model": value["model"] | {"continuing_subword_prefix": "@@"}},
        value | {"model": value["model"] | {"vocab": {"a": 0, "[PAD]": 7}}},
        value | {"added_tokens": [value["added_tokens"][0] | {"content": "<extra>"}]},
        {},
        [],
    ]
    for number, one in enumerate(wrong):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "tokenizer.json").write_text(json.dumps(one), encoding="utf-8")
        with pytest.raises(FormatError, match="WordPiece"):
            load_bert_tokenizer(folder)
    with pytest.raises(FormatError, match="can't be read"):
        load_bert_tokenizer(tmp_path)
    with pytest.raises(UsageError, match="at least 16"):
        train_bert_tokenizer(["a"], 5)
