"""Feedback of other tools: every row is stored, known, silent or told as wrong; never doubled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from noria.corpus.deidentify import Deidentifier
from noria.errors import InputError, UsageError
from noria.feedback.importing import About, Imported, import_feedback
from noria.feedback.store import FeedbackStore

DESK = About("acme", "desk")
TOPIC = About("acme", "desk.topic", "task")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeedbackStore]:
    store = FeedbackStore(tmp_path / "feedback.sqlite", Deidentifier)
    yield store
    store.close()


def bring(
    store: FeedbackStore, text: str, name: str = "votes.csv", about: About = DESK, **columns: str
) -> Imported:
    folder = store.database.path.parent
    (folder / name).write_text(text, encoding="utf-8")
    return import_feedback(store, folder / name, about, columns)


def counts(told: Imported) -> tuple[int, int, int, int]:
    assert told.num_rows == told.num_stored + told.num_known + told.num_silent + len(told.wrong)
    return told.num_stored, told.num_known, told.num_silent, len(told.wrong)


def test_a_table_is_understood_by_its_names_and_comes_in_once(store: FeedbackStore) -> None:
    text = (
        "Question,Response,Rating,Note,Annotator,created_at\n"
        'Where is it?,"On its way,\nsoon.",👍,,ann@example.com,2026-11-01T10:00:00Z\n'
        "在哪里？,在路上。,-1,too short,bob,1790000000\n"
        "Hello,Hi,,,ann@example.com,\n"
    )
    told = bring(store, text)
    assert counts(told) == (2, 0, 1, 0)
    assert told.num_feedback == 3
    said = store.feedback("acme")
    assert [(one.kind, one.value) for one in said] == [
        ("thumb", "up"),
        ("thumb", "down"),
        ("comment", "too short"),
    ]
    assert said[0].person == store.pseudonym("acme", "ann@example.com")
    assert said[0].created_at == 1793527200.0
    asked = store.interactions("acme")
    assert [one.kind for one in asked] == ["chat", "chat"]
    assert asked[0].answer == "On its way,\nsoon."
    assert counts(bring(store, text)) == (0, 2, 1, 0)
    assert counts(bring(store, text + "New?,Yes,up,,,\n")) == (1, 2, 1, 0)
    assert len(store.feedback("acme")) == 4


def test_the_same_row_twice_in_a_file_is_two_and_stays_two(store: FeedbackStore) -> None:
    text = "prompt,answer,thumb\nHello,Hi,up\nHello,Hi,up\n"
    assert counts(bring(store, text)) == (2, 0, 0, 0)
    assert counts(bring(store, text)) == (0, 2, 0, 0)
    assert len(store.interactions("acme")) == 1


def test_bad_rows_are_told_by_line_and_the_others_come_in(store: FeedbackStore) -> None:
    lines = [
        '{"prompt": "a", "answer": "b", "thumb": "up"}',
        "{nonsense",
        '{"prompt": "c", "answer": "d", "thumb": "4 stars"}',
        '{"prompt": "e", "thumb": "up"}',
        '{"interaction_id": "no-such", "thumb": "up"}',
        '{"prompt": "f", "answer": "g", "thumb": "up", "time": "yesterday"}',
        '{"prompt": "h", "answer": "i", "thumb": false}',
    ]
    told = bring(store, "\n".join(lines) + "\n", "votes.jsonl")
    assert counts(told) == (2, 0, 0, 5)
    assert [one.line for one in told.wrong] == [2, 3, 4, 5, 6]
    assert "no thumb" in told.wrong[1].reason
    assert "no such interaction" in told.wrong[3].reason
    assert [one.value for one in store.feedback("acme")] == ["up", "down"]


def test_a_row_of_our_own_answer_finds_it(store: FeedbackStore) -> None:
    own = store.record_interaction(
        tenant="acme",
        interaction_id="cmpl-1",
        model_name="desk",
        weight_hash="ab" * 32,
        kind="completion",
        prompt="Once",
        answer="upon",
    )
    told = bring(store, "id,expected\ncmpl-1,upon a time\n")
    assert counts(told) == (1, 0, 0, 0)
    assert store.interactions("acme") == [own]
    assert store.corrections("acme")[0][1].value == "upon a time"


def test_labels_of_an_application_and_named_columns(store: FeedbackStore) -> None:
    text = "was;should;what\nbill;parcel;Where is it?\n"
    told = bring(store, text, about=TOPIC, answer="was", label="should", prompt="what")
    assert counts(told) == (1, 0, 0, 0)
    (asked,) = store.interactions("acme")
    assert (asked.kind, asked.model_name, json.loads(asked.answer)) == (
        "task",
        "desk.topic",
        {"labels": ["bill"]},
    )
    assert [(one.kind, one.value) for one in store.feedback("acme")] == [("label", "parcel")]


def test_chosen_and_rejected_are_a_preference_between_two_answers(store: FeedbackStore) -> None:
    row = {"prompt": [{"role": "user", "content": "Hi"}], "chosen": "Hello!", "rejected": "What?"}
    told = bring(store, json.dumps(row) + "\n", "pairs.jsonl")
    assert counts(told) == (1, 0, 0, 0)
    better, worse = store.interactions("acme")
    (said,) = store.feedback("acme")
    assert (said.kind, said.interaction_id, said.value) == ("preference", better.id, worse.id)
    assert better.answer == "Hello!"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("when,where\n1,2\n", "no feedback among the columns 'when', 'where'"),
        ("stars,thumb\n5,up\n", "nothing that feedback is about"),
        ("", r"\w\.csv: an empty file"),
        ("prompt,thumb\n", "has no row"),
    ],
)
def test_a_table_that_is_not_understood_is_refused_and_says_what_it_has(
    store: FeedbackStore, text: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        bring(store, text)
    assert not store.interactions("acme")


def test_wrong_names_are_refused(store: FeedbackStore) -> None:
    with pytest.raises(UsageError, match="one of: interaction"):
        bring(store, "prompt,thumb\na,up\n", colour="prompt")
    with pytest.raises(InputError, match="no column 'text'"):
        bring(store, "prompt,thumb\na,up\n", prompt="text")
    with pytest.raises(InputError, match="rename or convert"):
        bring(store, "a", "votes.pdf")


def test_names_in_imported_texts_are_gone_before_they_are_stored(store: FeedbackStore) -> None:
    bring(store, "prompt,answer,correction\nMail me,ok,write to jo.doe@example.org\n")
    store.close()
    folder = store.database.path.parent
    for path in folder.glob("feedback.sqlite*"):
        assert b"jo.doe@example.org" not in path.read_bytes()
