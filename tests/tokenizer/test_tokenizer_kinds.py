import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from noria.errors import FormatError
from noria.export.templates import template_text
from noria.tokenizer.description import parse_description
from noria.tokenizer.foreign import tokenizer_from_huggingface
from noria.tokenizer.load import build_tokenizer, load_tokenizer
from noria.tokenizer.train import train_tokenizer
from noria.tokenizer.unigram import train_unigram

TEXTS = ["the keeper of the light climbed the stairs " * 20, "守灯人每天傍晚登上楼梯，" * 20]
Change = Callable[[dict[str, Any]], object]


def trained(tmp_path: Path, kind: str, change: Change = lambda value: None) -> Path:
    train_tokenizer(TEXTS, 700, tmp_path, "chatml", kind)
    path = tmp_path / "tokenizer.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")
    return tmp_path


def divisions(piece: bytes, tokens: dict[bytes, float]) -> list[list[bytes]]:
    if not piece:
        return [[]]
    return [
        [piece[:size], *rest]
        for size in range(1, len(piece) + 1)
        if piece[:size] in tokens
        for rest in divisions(piece[size:], tokens)
    ]


def test_unigram_probabilities_are_those_of_all_divisions_counted_by_hand() -> None:
    counts = {b"abab": 3, b"abc": 2, b"b": 1}
    candidates = [b"ab", b"abab", b"bc"]
    uniform = {bytes([one]): 0.0 for one in range(256)} | dict.fromkeys(candidates, 0.0)
    chances = dict.fromkeys(uniform, 0.0)
    for piece, count in counts.items():  # the start: how often each token fits
        for start in range(len(piece)):
            for end in range(start + 1, len(piece) + 1):
                if piece[start:end] in chances:
                    chances[piece[start:end]] += count
    total = sum(chances.values())
    chances = {one: max(value / total, 1e-9) for one, value in chances.items()}
    for _ in range(2):
        expected = dict.fromkeys(chances, 0.0)
        for piece, count in counts.items():
            ways = divisions(piece, chances)
            weights = [math.prod(chances[one] for one in way) for way in ways]
            for way, weight in zip(ways, weights, strict=True):
                for one in way:
                    expected[one] += count * weight / sum(weights)
        total = sum(expected.values())
        chances = {one: max(value / total, 1e-9) for one, value in expected.items()}
    found = dict(train_unigram(counts, candidates, 259))
    assert set(found) == set(chances)
    for one, score in found.items():
        assert score == pytest.approx(math.log(chances[one]), abs=1e-9)


def test_unigram_keeps_every_byte_and_the_tokens_that_the_text_needs() -> None:
    counts = {b"light": 50, b"tower": 40, b"lightly": 2}
    parts = [b"light", b"tower", b"li", b"ght", b"tow", b"er", b"ly", b"lightly"]
    found = dict(train_unigram(counts, parts, 258))
    assert len(found) == 258
    assert {bytes([one]) for one in range(256)} <= set(found)
    assert {b"light", b"tower"} <= set(found)


def test_wordpiece_takes_the_longest_token_first(tmp_path: Path) -> None:
    folder = trained(tmp_path, "wordpiece")
    stored = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    found, rest, mark = [], "Ġlightkeepers", ""
    while rest:
        longest = max((one for one in stored if (mark + rest).startswith(one)), key=len)
        found.append(stored[longest])
        rest, mark = (mark + rest)[len(longest) :], "‥"
    assert load_tokenizer(folder).encode(" lightkeepers") == found
    assert 1 < len(found) < 8


@pytest.mark.parametrize("kind", ["unigram", "wordpiece"])
def test_a_kind_with_another_cut_or_decoder_is_refused(kind: str, tmp_path: Path) -> None:
    changes: list[Change] = [
        lambda value: value.update(decoder=None),
        lambda value: value.update(normalizer={"type": "NFC"}),
        lambda value: value.update(pre_tokenizer={"type": "ByteLevel"}),
        lambda value: value.update(pre_tokenizer=value["pre_tokenizer"]["pretokenizers"][-1]),
        lambda value: value["model"].update(type="WordLevel"),
    ]
    for number, change in enumerate(changes):
        with pytest.raises(FormatError):
            load_tokenizer(trained(tmp_path / str(number), kind, change))


def test_a_wordpiece_that_lacks_a_byte_is_refused(tmp_path: Path) -> None:
    def rename(value: dict[str, Any]) -> None:
        words = value["model"]["vocab"]
        words["‥zz"] = words.pop("‥z")

    with pytest.raises(FormatError, match="every byte"):
        load_tokenizer(trained(tmp_path, "wordpiece", rename))


def test_a_unigram_whose_special_token_is_a_word_is_refused(tmp_path: Path) -> None:
    def rename(value: dict[str, Any]) -> None:
        value["model"]["vocab"][3][0] = value["added_tokens"][3]["content"] = "keeper"

    folder = trained(tmp_path, "unigram", rename)
    meta = json.loads((folder / "tokenizer_meta.json").read_text(encoding="utf-8"))
    meta["specials"]["3"] = "keeper"
    (folder / "tokenizer_meta.json").write_text(json.dumps(meta), encoding="utf-8")
    with pytest.raises(FormatError, match="can spell"):
        load_tokenizer(folder)


@pytest.mark.parametrize("kind", ["bpe", "unigram", "wordpiece"])
def test_a_kind_comes_back_from_hugging_faces_layout(kind: str, tmp_path: Path) -> None:
    ours = load_tokenizer(trained(tmp_path, kind))
    config = {
        "eos_token": "<|endoftext|>",
        "pad_token": "<|pad|>",
        "chat_template": template_text(ours.description),
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    text, meta = tokenizer_from_huggingface(tmp_path)
    again = build_tokenizer(text, parse_description(meta, "here"), "here")
    said = "the keeper ‥ 灯塔 <|im_end|> 12\n"
    assert again.description == ours.description
    assert again.encode(said) == ours.encode(said)
    assert again.decode(again.encode(said)) == said
