import random
import struct

import pytest
from sentencepieces import proto, trained

from noria.tokenizer.charsmap import read_charsmap
from noria.tokenizer.sentencepiece_text import Spelling


def own_charsmap(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    rules = tmp_path_factory.mktemp("rules") / "rules.tsv"
    rules.write_text("41\t61\n65 301\tE9\n65 301 302\t\n20 20\t2E\n4E00\t58 20 20 59\n")
    spec = proto(trained("bpe", normalization_rule_tsv=str(rules))).normalizer_spec
    return bytes(spec.precompiled_charsmap)


@pytest.fixture(scope="module")
def charsmap(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return own_charsmap(tmp_path_factory)


def test_every_rule_that_was_compiled_is_found(charsmap: bytes) -> None:
    wanted = {"A": "a", "e\u0301": "é", "e\u0301\u0302": "", "  ": ".", "一": "X  Y"}
    assert read_charsmap(charsmap) == wanted
    assert read_charsmap(b"") == {}


def test_the_longest_text_is_replaced_and_what_is_kept_is_not(charsmap: bytes) -> None:
    spelling = Spelling(False, False, charsmap, frozenset(["A"]))
    assert spelling.write("Ae\u0301e\u0301\u0302e") == "Aée"
    assert Spelling(True, True, charsmap).write(" A 一 B") == "▁a▁X▁▁Y▁B"


def test_a_place_is_that_of_the_character_which_was_replaced(charsmap: bytes) -> None:
    spelling = Spelling(True, True, charsmap)
    assert spelling.write(" A e\u0301一") == "▁a▁éX▁▁Y"
    assert spelling.places(" A e\u0301一") == [1, 1, 2, 3, 5, 5, 5, 5]


def unit(label: int, offset: int, leaf: bool = False) -> int:
    return label | leaf << 8 | offset << 10


def trie(*units: int) -> bytes:
    return struct.pack(f"<I{len(units)}I", 4 * len(units), *units)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\1", "a charsmap of 1 bytes"),
        (struct.pack("<II", 8, 0), "with a trie of 8"),
        (struct.pack("<II", 3, 0), "with a trie of 3"),
        (trie(unit(0, 1), *[unit(n ^ 1, n ^ 1) for n in range(1, 256)]), "branches"),
        (trie(unit(0, 1), *[0] * 95, unit(97, 96 ^ 1)), "a key of more than 64 bytes"),
        (trie(unit(0, 1), *[0] * 95, unit(97, 1 << 19, leaf=True)), "outside of itself"),
        (trie(unit(0, 1), *[0] * 95, unit(97, 96, leaf=True)), "at 1024 that does not end"),
        (trie(unit(0, 1), *[0] * 95, unit(97, 96, leaf=True)) + b"a" * 4096, "does not end"),
    ],
)
def test_a_trie_that_lies_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_charsmap(data)


def test_a_mutant_of_a_charsmap_is_refused_or_a_dictionary(charsmap: bytes) -> None:
    chance = random.Random(7)
    for _ in range(500):
        changed = bytearray(charsmap)
        for _ in range(chance.randint(1, 6)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        try:
            found = read_charsmap(bytes(changed))
        except ValueError:
            continue
        assert all(isinstance(one, str) for pair in found.items() for one in pair)
