"""Identities from a seed in sentences of our own: every kind is found, and sentences stay."""

from __future__ import annotations

import pytest
from inserted_identities import STRUCTURED_EN, STRUCTURED_ZH, luhn_digit
from insertion import texts_with_identities
from leaks import Marked, Score, add_to
from own_sentences import OWN_EN, OWN_ZH

from noria.corpus.deidentify import Deidentifier
from noria.corpus.detector import view_of
from noria.corpus.identities import DETECTORS


@pytest.mark.parametrize(
    ("sentences", "kinds", "gap"), [(OWN_EN, STRUCTURED_EN, " "), (OWN_ZH, STRUCTURED_ZH, "")]
)
def test_inserted_identities_are_found_and_nothing_else(sentences, kinds, gap) -> None:
    scores: dict[str, Score] = {}
    finder = Deidentifier()
    for text, inserted in texts_with_identities(sentences, kinds, 60, 1, gap):
        finds = [Marked(one.start, one.end, one.kind) for one in finder.find(text)]
        add_to(scores, text, inserted, finds)
    assert set(kinds) <= set(scores)
    assert sum(score.there for score in scores.values()) == 60 * len(kinds)
    assert {kind: score.missed for kind, score in scores.items() if score.recall < 0.995} == {}
    assert {kind: score.wrong for kind, score in scores.items() if score.wrong} == {}


@pytest.mark.parametrize(
    ("sentences", "kinds", "gap"), [(OWN_EN, STRUCTURED_EN, " "), (OWN_ZH, STRUCTURED_ZH, "")]
)
def test_the_cheap_look_misses_nothing_that_the_pattern_finds(sentences, kinds, gap) -> None:
    found = 0
    for text, _ in texts_with_identities(sentences, kinds, 30, 2, gap):
        view = view_of(text)
        for detector in DETECTORS:
            judged = map(detector.judge, detector.pattern.finditer(text))
            if any(reach is not None for reach in judged):
                found += 1
                assert detector.gate(view), (detector.kind, text)
    assert found > 10 * len(kinds)


@pytest.mark.parametrize("sentence", OWN_EN + OWN_ZH)
def test_sentences_without_identities_stay(sentence: str) -> None:
    assert Deidentifier().replace(sentence) == (sentence, {})


def test_a_value_of_which_much_is_left_is_not_found() -> None:
    text = "call 555 123 9876 now"
    for end, found in ((17, 1), (16, 1), (14, 0)):
        scores: dict[str, Score] = {}
        add_to(scores, text, [Marked(5, 17, "PHONE")], [Marked(5, end, "PHONE")])
        assert scores["PHONE"].found == found


def test_the_same_seed_makes_the_same_texts() -> None:
    made = [texts_with_identities(OWN_EN, STRUCTURED_EN, 3, 5, " ") for _ in range(2)]
    assert made[0] == made[1]
    assert made[0] != texts_with_identities(OWN_EN, STRUCTURED_EN, 3, 6, " ")
    assert luhn_digit("411111111111111") == "1"
