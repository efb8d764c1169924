"""Krippendorff's alpha is what its author published, and counts each voter's last vote once."""

from __future__ import annotations

import pytest

from noria.feedback.agreement import ANSWERS, THUMBS, agreements, measure_agreement
from noria.feedback.interactions import Feedback, Interaction

NOBODY = "*"
# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability": examples A, B and C with results.
PUBLISHED = {
    "A": (["0100000010", "1110010000"], 0.095),
    "B": (["aabbdcccedda", "babbbcccedd" + "d"], 0.692),
    "C": (["123321412***", "1233224125*3", "*3332342251*", "1233244125" + "1*"], 0.743),
}


@pytest.mark.parametrize("example", PUBLISHED)
def test_alpha_equals_the_published_examples(example: str) -> None:
    observers, published = PUBLISHED[example]
    units = [[one for one in unit if one != NOBODY] for unit in zip(*observers, strict=True)]
    found = measure_agreement(units)
    assert found.alpha == pytest.approx(published, abs=5e-4)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.alpha < found.high


def test_alpha_is_one_where_all_agree_and_not_defined_where_nobody_could_disagree() -> None:
    assert measure_agreement([["a", "a"], ["b", "b"], ["a", "a"]]).alpha == 1.0
    assert measure_agreement([["a", "a"], ["a", "a"]]).alpha is None
    assert measure_agreement([["a"], ["b"]]).num_units == 0
    assert measure_agreement([]).alpha is None


def test_chance_gives_no_agreement() -> None:
    votes = [["ab"[n % 2], "ab"[n // 2 % 2]] for n in range(400)]
    found = measure_agreement(votes)
    assert found.alpha == pytest.approx(0.0, abs=0.01)
    assert found.low < 0 < found.high  # type: ignore[operator]


def test_a_voter_has_one_vote_and_nobody_in_particular_none() -> None:
    asked = [
        Interaction("acme", f"i{n}", "desk", "ab", "completion", "p", "a", 0.0) for n in range(3)
    ]
    votes = [
        (0, "up", "Ann"),
        (0, "down", "Ann"),
        (0, "down", "Bob"),
        (1, "up", "Ann"),
        (1, "up", "Bob"),
        (1, "down", ""),
        (2, "up", "Ann"),
    ]
    said = [
        (asked[place], Feedback("acme", f"fb{n}", f"i{place}", "thumb", value, "person", n, person))
        for n, (place, value, person) in enumerate(votes)
    ]
    found = agreements(said)
    assert (found[THUMBS].alpha, found[THUMBS].num_units, found[THUMBS].num_votes) == (1.0, 2, 4)
    assert found[ANSWERS].num_votes == 0
