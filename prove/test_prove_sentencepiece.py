"""SentencePiece models: 17,228 strings under each of 16, and 5,000 mutants of two."""

from __future__ import annotations

import math
import random
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from malformed import mutate
from sentencepieces import TRAPS, processor, texts, trained

from noria.errors import FormatError
from noria.tokenizer.description import parse_description
from noria.tokenizer.foreign import tokenizer_from_sentencepiece
from noria.tokenizer.load import Tokenizer, build_tokenizer

WAYS = [
    {
        "normalization_rule_name": rule,
        "byte_fallback": falls_back,
        "add_dummy_prefix": prefix,
        "split_by_whitespace": prefix,
        "remove_extra_whitespaces": not prefix,
    }
    for rule, falls_back, prefix in product(("identity", "nmt_nfkc"), (True, False), (True, False))
]


def loaded(data: bytes, folder: Path) -> Tokenizer:
    path = folder / "tokenizer.model"
    path.write_bytes(data)
    text, meta = tokenizer_from_sentencepiece(path)
    return build_tokenizer(text, parse_description(meta, "here"), "here")


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_ids_of_17228_strings_equal_those_of_sentencepiece_under_every_model(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    num_texts = num_ties = 0
    for number, way in enumerate(WAYS):
        settings: dict[str, Any] = {**way, "vocab_size": 2000}
        data = trained(kind, **settings)
        ours, theirs = loaded(data, tmp_path), processor(data)
        tried = texts(20_000, seed=100 + number)
        for ids, wanted in zip(ours.encode_batch(tried), theirs.encode(tried), strict=True):
            num_texts += 1
            if ids == wanted:
                continue
            assert kind == "unigram"
            num_ties += 1
            mine, its = (math.fsum(map(theirs.get_score, one)) for one in (ids, wanted))
            assert its - 1e-9 <= mine <= its + 1e-3
    with capsys.disabled():
        sys.stdout.write(f"\n{kind}: {num_texts:,} strings, {num_ties:,} in a tie\n")


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_5000_mutants_are_refused_or_tokenizers(kind: str, tmp_path: Path) -> None:
    rules = tmp_path / "rules.tsv"
    rules.write_text("41\t61\n65 301\tE9\n9\t20\n", encoding="ascii")
    good = trained(kind, vocab_size=700, normalization_rule_tsv=str(rules))
    chance = random.Random(77)
    for _ in range(2500):
        try:
            tokenizer = loaded(mutate(chance, good), tmp_path)
        except FormatError:
            continue
        for ids in tokenizer.encode_batch(TRAPS):
            assert not set(ids) & set(tokenizer.specials)
