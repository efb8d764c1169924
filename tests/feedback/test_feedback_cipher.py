"""Texts lie encrypted, bound to their place; keys rotate; an erased person's texts are gone."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from places import OPENED, Place
from sqlalchemy import select, update

from noria.errors import IntegrityError, UnknownName, UsageError
from noria.feedback.cipher import master_keys_of, parse_master_keys
from noria.feedback.custody import (
    erase_person,
    rotate_master_key,
    rotate_tenant_key,
)
from noria.feedback.interactions import Interaction
from noria.feedback.store import FeedbackStore
from noria.feedback.tables import feedback_table, interactions_table, tenant_keys_table


def ask(store: FeedbackStore, number: int, person: str = "jo", tenant: str = "acme") -> Interaction:
    return store.record_interaction(
        tenant=tenant,
        interaction_id=f"cmpl-{number}",
        model_name="m",
        weight_hash="ab" * 32,
        kind="completion",
        prompt=f"question {number}",
        answer=f"answer {number}",
        person=person,
        idempotency_key=f"k{number}",
    )


SWAPS = {
    "rows": (("acme", 1, "prompt"), ("acme", 2, "prompt")),
    "columns": (("acme", 1, "prompt"), ("acme", 1, "answer")),
    "persons": (("acme", 1, "prompt"), ("acme", 3, "prompt")),
    "tenants": (("acme", 1, "prompt"), ("other", 1, "prompt")),
    "keys": (("acme", 1, "data_key"), ("acme", 3, "data_key")),
    "names": (("acme", 1, "person"), ("acme", 3, "person")),
}


def get(store: FeedbackStore, cell: tuple[str, int, str]) -> bytes | str:
    tenant, number, column = cell
    table = interactions_table.c
    query = select(table[column]).where(table.tenant == tenant, table.id == f"cmpl-{number}")
    with store.database.read(tenant) as connection:
        found = connection.execute(query).scalar_one()
    assert isinstance(found, bytes | str)
    return found


def put(store: FeedbackStore, cell: tuple[str, int, str], value: bytes | str) -> None:
    tenant, number, column = cell
    table = interactions_table.c
    mine = (table.tenant == tenant, table.id == f"cmpl-{number}")
    with store.database.write(tenant) as connection:
        connection.execute(update(interactions_table).where(*mine).values({column: value}))


@pytest.mark.parametrize("what", SWAPS)
def test_a_text_in_another_place_is_refused(store: FeedbackStore, what: str) -> None:
    for tenant, number, person in [
        ("acme", 1, "jo"),
        ("acme", 2, "jo"),
        ("acme", 3, "li"),
        ("other", 1, "jo"),
    ]:
        ask(store, number, person, tenant)
    one, two = SWAPS[what]
    texts = get(store, one), get(store, two)
    put(store, one, texts[1])
    put(store, two, texts[0])
    with pytest.raises(IntegrityError, match="can't be decrypted") as found:
        store.find(one[0], f"cmpl-{one[1]}")
    assert "question" not in str(found.value)
    with pytest.raises(IntegrityError):
        store.interactions(two[0])
    put(store, one, texts[0])
    put(store, two, texts[1])
    assert store.find("acme", "cmpl-1").prompt == "question 1"


def test_a_changed_text_is_refused(store: FeedbackStore) -> None:
    asked = ask(store, 1)
    sealed = get(store, ("acme", 1, "prompt"))
    assert isinstance(sealed, bytes)
    for changed in (sealed[:-1] + bytes([sealed[-1] ^ 1]), b"", sealed[:8], b"\x02" + sealed[1:]):
        put(store, ("acme", 1, "prompt"), changed)
        with pytest.raises(IntegrityError):
            store.find("acme", asked.id)


def test_equal_texts_look_different(store: FeedbackStore) -> None:
    asked = ask(store, 1)
    for _ in range(2):
        store.record_feedback("acme", asked.id, "thumb", "up", person="jo")
    with store.database.read("acme") as connection:
        first, second = connection.execute(select(feedback_table.c.value)).scalars()
    assert first != second and b"up" not in first


def test_an_erased_person_is_gone_and_others_stay(store: FeedbackStore, place: Place) -> None:
    ask(store, 1, "jo")
    ask(store, 2, "li")
    store.record_feedback("acme", "cmpl-1", "correction", "of jo's", person="li")
    store.record_feedback("acme", "cmpl-2", "correction", "by jo", person="jo")
    kept = store.record_feedback("acme", "cmpl-2", "correction", "by li", person="li")
    second = place.open()  # it knows the key, and must not use it again
    assert len(second.said("acme")) == 3
    assert erase_person(store, "acme", "jo") and not erase_person(store, "acme", "jo")
    for opened in (store, second):
        assert [one.id for one in opened.interactions("acme")] == ["cmpl-2"]
        assert [said for _, said in opened.said("acme")] == [kept]
        with pytest.raises(UnknownName):
            opened.find("acme", "cmpl-1")
        with pytest.raises(UsageError, match="used for something else"):
            ask(opened, 1, "jo")
    new = second.record_feedback("acme", "cmpl-2", "comment", "jo again", person="jo")
    assert store.feedback("acme")[-1] == new


def test_a_tenants_key_rotates_and_everything_stays_readable(
    store: FeedbackStore, place: Place
) -> None:
    asked = ask(store, 1)
    second = place.open()
    assert second.find("acme", asked.id) == asked
    with store.database.read("acme") as connection:
        before = connection.execute(select(tenant_keys_table.c.wrapped)).scalar_one()
    assert rotate_tenant_key(store, "acme") and not rotate_tenant_key(store, "nobody")
    with store.database.read("acme") as connection:
        assert connection.execute(select(tenant_keys_table.c.wrapped)).scalar_one() != before
    for opened in (store, second, place.open()):
        assert opened.find("acme", asked.id) == asked == ask(opened, 1)
        assert opened.pseudonym("acme", "jo") == asked.person
    ask(second, 2)
    assert len(store.interactions("acme")) == 2


def test_master_keys_rotate_under_a_store_that_runs(store: FeedbackStore, place: Place) -> None:
    path = place.master.path
    assert path is not None
    running = store
    asked = ask(running, 1)
    for tenant in ("other", "third"):
        old = master_keys_of(path).keys[0]
        rotating = place.open()
        assert rotate_master_key(rotating) >= 1
        ask(running, 1, tenant=tenant)
        assert running.find("acme", asked.id) == rotating.find("acme", asked.id) == asked
        assert old == master_keys_of(path).keys[1] and len(master_keys_of(path).keys) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (path.parent / "other.key").touch(mode=0o600)
    (path.parent / "other.key").write_text("ab" * 32)
    place.master = master_keys_of(path.parent / "other.key")
    with pytest.raises(IntegrityError, match="which is not here"):
        place.open().find("acme", asked.id)


ROTATE = """
from noria.feedback.custody import rotate_master_key, rotate_tenant_key
print("ready", flush=True)
while True:
    rotate_master_key(store)
    rotate_tenant_key(store, "acme")
    rotate_tenant_key(store, "other")
"""


def test_a_rotation_that_is_killed_loses_no_key(store: FeedbackStore, place: Place) -> None:
    asked = [ask(store, n, f"person {n}", t) for n in range(20) for t in ("acme", "other")]
    path = place.master.path
    assert path is not None
    for wait_s in (0.03, 0.14, 0.25):
        command = [sys.executable, "-c", OPENED + ROTATE, *place.arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as rotating:
            assert rotating.stdout is not None and rotating.stdout.readline() == b"ready\n"
            with pytest.raises(subprocess.TimeoutExpired):
                rotating.wait(wait_s)
            rotating.send_signal(signal.SIGKILL)
        place.master = master_keys_of(path)
        opened = place.open()
        found = opened.interactions("acme") + opened.interactions("other")
        assert sorted(found, key=repr) == sorted(asked, key=repr)


def test_a_key_that_is_none_is_refused_and_not_repeated(tmp_path: Path) -> None:
    for text in ("", "hunter2", "ab" * 31, "ab" * 32 + ",zz"):
        with pytest.raises(UsageError, match="64 hexadecimal digits") as found:
            parse_master_keys(text)
        assert not text or text not in str(found.value)
    path = tmp_path / "master.key"
    path.touch(mode=0o644)
    path.chmod(0o644)
    with pytest.raises(UsageError, match="others may read"):
        master_keys_of(path)


def test_keys_stand_in_no_text_of_theirs(tmp_path: Path) -> None:
    keys = master_keys_of(tmp_path / "master.key")
    assert keys.keys[0].hex() not in repr(keys) and repr(keys.keys[0]) not in repr(keys)
