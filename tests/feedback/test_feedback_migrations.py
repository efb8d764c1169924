"""A store that an older Noria wrote opens, and every row of it is there.

`stored/schema1.sqlite` was written by the code of format 1, as `ASKED` and `SAID` say.
"""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Connection

from noria.errors import StorageError
from noria.feedback import migrations
from noria.feedback.store import FeedbackStore

PLAN = (  # of what `answered_by` asks: one search, nothing sorted
    "EXPLAIN QUERY PLAN SELECT id FROM interactions WHERE tenant = 'acme' AND weight_hash = 'a' "
    "ORDER BY position DESC LIMIT 20"
)
STORED = Path(__file__).parent / "stored"
ASKED = [
    ("cmpl-1", "completion", "Where is parcel 1?", "On its way.", "stop"),
    ("cmpl-2", "chat", '[{"role": "user", "content": "我的包裹在哪里？"}]', "在路上。", "length"),
    ("cmpl-3", "task", "late again", '{"label": "praise"}', "cancelled"),
]
SAID = [
    ("cmpl-1", "thumb", "down", "person"),
    ("cmpl-1", "correction", "It arrived on Monday.", "person"),
    ("cmpl-2", "correction", "已送达。", "simulated"),
    ("cmpl-3", "label", "complaint", "person"),
]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copy(STORED / "schema1.sqlite", tmp_path / "feedback.sqlite"))


def test_a_store_of_format_1_keeps_every_row(old: Path) -> None:
    for _ in range(2):  # the second time it is of the newest format
        store = FeedbackStore(old)
        asked = store.interactions("acme")
        assert [(a.id, a.kind, a.prompt, a.answer, a.finish) for a in asked] == ASKED
        assert [a.created_at - 1_760_000_000 for a in asked] == [1, 2, 3]
        jo, li = store.pseudonym("acme", "jo"), store.pseudonym("acme", "li")
        assert [a.person for a in asked] == [jo, li, ""]
        assert (asked[0].num_prompt_tokens, asked[0].num_answer_tokens) == (5, 4)
        said = store.feedback("acme")
        assert [(s.interaction_id, s.kind, s.value, s.origin) for s in said] == SAID
        assert {(s.person, s.key_id) for s in said} == {("", "")}
        assert [s.value for _, s in store.said("other")] == ["hm"]
        with sqlite3.connect(old) as connection:
            plan = connection.execute(PLAN).fetchall()
        connection.close()
        assert "USING INDEX interactions_of_weights" in plan[0][-1] and len(plan) == 1
        store.close()


def test_a_retry_of_what_format_1_stored_is_still_a_retry(old: Path) -> None:
    store = FeedbackStore(old)
    first = store.feedback("acme")[0]
    again = store.record_feedback("acme", "cmpl-1", "thumb", "down", idempotency_key="f1")
    assert again == first
    found = store.answered(
        tenant="acme",
        model_name="helpdesk",
        kind="completion",
        prompt="Where is parcel 1?",
        idempotency_key="k1",
        person="jo",
    )
    assert found == store.interactions("acme")[0]
    assert len(store.feedback("acme")) == len(SAID)
    store.close()


def test_a_migration_that_fails_leaves_the_old_format_whole(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = migrations.add_person_and_key

    def fail(connection: Connection) -> None:
        step(connection)
        raise StorageError("the disk said no")

    with monkeypatch.context() as patched:
        patched.setattr(migrations, "add_person_and_key", fail)
        with pytest.raises(StorageError, match="said no"):
            FeedbackStore(old)
    file = sqlite3.connect(old)
    assert file.execute("PRAGMA user_version").fetchone() == (1,)
    columns = {row[1] for row in file.execute("PRAGMA table_info(feedback)")}
    file.close()
    assert "person" not in columns
    store = FeedbackStore(old)
    assert len(store.feedback("acme")) == len(SAID)
    store.close()
