from pathlib import Path

from noria.tokenizer.fertility import measure_fertility
from noria.tokenizer.load import load_tokenizer
from noria.tokenizer.train import train_tokenizer


def test_fertility_counts_tokens_bytes_characters_and_words(tmp_path: Path) -> None:
    train_tokenizer(["abc"], 300, tmp_path, "plain")  # no pair twice: a token is a byte
    tokenizer = load_tokenizer(tmp_path)
    found = measure_fertility(tokenizer, ["It isn't 7 pm.", "灯 亮"])
    assert (found["tokens"], found["bytes"]) == (21, 21)
    assert found["characters"] == 11 + 2
    assert found["words"] == 4 + 2
    assert found["bytes_per_token"] == 1.0
    assert found["tokens_per_word"] == 21 / 6
    assert found["tokens_per_character"] == 21 / 13


def test_fertility_of_nothing_is_nothing(tmp_path: Path) -> None:
    train_tokenizer(["abc"], 300, tmp_path, "plain")
    found = measure_fertility(load_tokenizer(tmp_path), [])
    assert set(found.values()) == {0}
