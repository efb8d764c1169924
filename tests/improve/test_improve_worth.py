"""Active selection: the unsure, the disputed and the new come first, and each says why."""

from __future__ import annotations

import json

import numpy as np
from said import TASK, asked, asked_task, said, wishes_of

from noria.improve.worth import most_worth, uncertainty_of

WISHES = wishes_of(("bill", "parcel"))


def with_margin(text: str, first: float, second: float):  # type: ignore[no-untyped-def]
    answer = {"labels": ["bill"], "probabilities": {"bill": first, "parcel": second}}
    return asked(text, json.dumps(answer), "task", TASK)


def test_an_unsure_answer_is_worth_more_than_a_sure_one() -> None:
    sure, unsure = with_margin("a", 0.98, 0.02), with_margin("b", 0.52, 0.48)
    ranked = most_worth([sure, unsure], [], WISHES)
    assert [one.asked for one in ranked] == ["b", "a"]
    assert ranked[0].reasons == ("unsure (52% and 48%)",)
    assert most_worth([sure, unsure], [], WISHES, limit=1)[0].asked == "b"


def test_disagreement_and_novelty_raise_the_rank() -> None:
    every = [with_margin(text, 0.7, 0.3) for text in "abcd"]
    votes = [
        said(every[1], "bill", person="Ann"),
        said(every[1], "parcel", person="Bob"),
        said(every[2], "parcel", person="Ann"),
        said(every[0], "up", "thumb", person="Ann"),
    ]
    ranked = most_worth(every, votes, WISHES, lambda texts: np.array([0, 0, 0, 0.9]))
    assert [one.asked for one in ranked] == ["b", "d", "c", "a"]
    assert "2 people, 2 opinions" in ranked[0].reasons
    assert "people want another answer" in ranked[2].reasons


def test_a_question_stands_there_once_with_its_last_answer() -> None:
    ranked = most_worth([with_margin("a", 0.9, 0.1), with_margin("a", 0.5, 0.5)], [], WISHES)
    assert [one.uncertainty for one in ranked] == [1.0]


def test_an_answer_without_probabilities_is_neither_sure_nor_unsure() -> None:
    assert uncertainty_of(asked("hi", "hello"))[0] == 0.5
    assert uncertainty_of(asked("hi", "no JSON", "task", TASK))[0] == 0.5
    assert uncertainty_of(asked_task("hi", "bill", 0.9))[0] < 0.2
