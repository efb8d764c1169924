"""The feedback store: durable, one tenant at a time, no identities, no doubles."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from places import OPENED, Place

from noria.errors import FormatError, StorageError, UnknownName, UsageError
from noria.feedback.custody import erase_person
from noria.feedback.interactions import Feedback, Interaction, chat_prompt
from noria.feedback.store import FeedbackStore
from noria.records import CALL, TOOLS, Message, Part, content_text, text_content

WEIGHTS = "ab" * 32


def ask(
    store: FeedbackStore,
    number: int = 1,
    tenant: str = "acme",
    prompt: str = "Where is my parcel?",
    answer: str = "On its way.",
    person: str = "",
    key: str = "",
    kind: str = "completion",
) -> Interaction:
    return store.record_interaction(
        tenant=tenant,
        interaction_id=f"cmpl-{number}",
        model_name="helpdesk",
        weight_hash=WEIGHTS,
        kind=kind,
        prompt=prompt,
        answer=answer,
        person=person,
        idempotency_key=key,
    )


def test_what_was_stored_is_there_after_reopening(store: FeedbackStore, place: Place) -> None:
    asked = ask(store, answer="在路上。")
    said = store.record_feedback("acme", asked.id, "correction", "It arrived. 已送达。")
    store.close()
    again = place.open()
    assert again.find("acme", asked.id) == asked
    assert again.corrections("acme") == [(asked, said)]


def test_order_is_the_order_of_storing_whatever_the_clock_says(store: FeedbackStore) -> None:
    for number, created_at in enumerate([9.0, 1.0, 5.0]):
        asked = ask(store, number)
        store.record_feedback("acme", asked.id, "correction", f"no {number}", created_at=created_at)
    assert [one.id for one in store.interactions("acme")] == ["cmpl-0", "cmpl-1", "cmpl-2"]
    assert [said.value for _, said in store.corrections("acme")] == ["no 0", "no 1", "no 2"]


def test_what_weights_answered_is_found_latest_first_and_of_the_tenant_alone(
    store: FeedbackStore,
) -> None:
    weights = [ask(store, number).weight_hash for number in range(5)]
    assert len(set(weights)) == 1
    assert store.answered_by("acme", weights[0], 3) == ["cmpl-4", "cmpl-3", "cmpl-2"]
    assert store.answered_by("acme", "0" * 64, 3) == []
    assert store.answered_by("other", weights[0], 3) == []


def test_only_corrections_are_corrections(store: FeedbackStore) -> None:
    asked = ask(store)
    for kind, value in [("thumb", "up"), ("label", "good"), ("comment", "hm"), ("correction", "x")]:
        store.record_feedback("acme", asked.id, kind, value)
    assert [said.kind for said in store.feedback("acme")] == [
        "thumb",
        "label",
        "comment",
        "correction",
    ]
    assert [said.value for _, said in store.corrections("acme")] == ["x"]


def test_everything_said_of_one_interaction_is_kept_with_who_said_it(store: FeedbackStore) -> None:
    asked = ask(store)
    for person in ("jo", "li", "jo"):
        store.record_feedback("acme", asked.id, "thumb", "up", person=person, key_id="k-1")
    said = [said for one, said in store.said("acme") if one == asked]
    jo, li = store.pseudonym("acme", "jo"), store.pseudonym("acme", "li")
    assert [(one.person, one.key_id) for one in said] == [(jo, "k-1"), (li, "k-1"), (jo, "k-1")]
    assert store.said("other") == []


def test_a_sign_of_what_somebody_did_has_no_value(store: FeedbackStore) -> None:
    asked = ask(store)
    said = store.record_feedback("acme", asked.id, "copy", "")
    assert said.implicit and not store.record_feedback("acme", asked.id, "comment", "hm").implicit
    with pytest.raises(UsageError, match="value beside abandon"):
        store.record_feedback("acme", asked.id, "abandon", "words")


def test_counts_and_thumbs_are_told_without_opening_a_text(store: FeedbackStore) -> None:
    asked = [ask(store, number) for number in range(3)]
    ask(store, 7, tenant="other")
    for one, kind, value in (
        (asked[0], "thumb", "down"),
        (asked[0], "correction", "Here."),
        (asked[1], "thumb", "up"),
        (asked[2], "copy", ""),
    ):
        store.record_feedback("acme", one.id, kind, value, person="jo")
    counts = store.counts("acme")
    assert {key: one.total for key, one in counts.items()} == {
        ("helpdesk", "thumb"): 2,
        ("helpdesk", "correction"): 1,
        ("helpdesk", "copy"): 1,
    }
    said = store.feedback("acme")
    since = store.counts("acme", {"helpdesk": said[1].created_at, "another": 0.0})
    assert {kind: one.fresh for (_, kind), one in since.items()} == {
        "thumb": sum(one.created_at > said[1].created_at for one in said if one.kind == "thumb"),
        "correction": 0,
        "copy": int(said[3].created_at > said[1].created_at),
    }
    thumbs = store.thumbs("acme")
    assert [(one.interaction_id, one.is_down) for one in thumbs] == [
        (asked[0].id, True),
        (asked[1].id, False),
    ]
    assert {one.voter for one in thumbs} == {said[0].person}
    assert store.thumbs("acme", thumbs[0].position) == thumbs[1:]
    assert store.thumbs("acme", thumbs[1].position) == []
    assert store.counts("other") == {} and store.thumbs("other") == []
    erase_person(store, "acme", "jo")
    assert store.counts("acme") == {} and store.thumbs("acme") == []


def test_a_preference_names_two_answers_of_the_tenant(store: FeedbackStore) -> None:
    better, worse = ask(store, 1), ask(store, 2)
    ask(store, 3, tenant="other")
    said = store.record_feedback("acme", better.id, "preference", worse.id)
    assert (said.interaction_id, said.value) == ("cmpl-1", "cmpl-2")
    for unknown in ("cmpl-3", "cmpl-9"):
        with pytest.raises(UnknownName):
            store.record_feedback("acme", better.id, "preference", unknown)
    with pytest.raises(UsageError, match="to itself"):
        store.record_feedback("acme", better.id, "preference", better.id)
    assert store.feedback("acme") == [said]


def test_the_same_said_again_through_another_key_is_a_retry(store: FeedbackStore) -> None:
    asked = ask(store)

    def say(person: str, key_id: str) -> Feedback:
        return store.record_feedback(
            "acme", asked.id, "thumb", "up", person=person, key_id=key_id, idempotency_key="f1"
        )

    assert say("jo", "key-1") == say("jo", "key-2") == store.feedback("acme")[0]
    with pytest.raises(UsageError, match="used for something else"):
        say("li", "key-1")


def test_identities_are_replaced_before_storing(store: FeedbackStore) -> None:
    asked = ask(store, prompt="I am jo.doe@example.com", answer="card 4111 1111 1111 1111")
    assert (asked.prompt, asked.answer) == ("I am [EMAIL]", "card [CARD]")
    said = store.record_feedback("acme", asked.id, "comment", "请打 13812345678 给我")
    assert said.value == "请打 [PHONE] 给我"
    chat = chat_prompt([Message("user", text_content('say "jo.doe@example.com"\nplease'))])
    asked = ask(store, 2, prompt=chat, kind="chat")
    assert content_text(asked.messages[0].content) == 'say "[EMAIL]"\nplease'
    assert store.interactions("acme")[1] == asked


def test_a_call_stays_json_where_identities_are_replaced(store: FeedbackStore) -> None:
    def called(arguments: str) -> str:
        call = '{"name": "mail", "arguments": ' + arguments + "}"
        return f"I mail jo.doe@example.com\n<tool_call>\n{call}\n</tool_call>"

    arguments = r'{"to": "jo.doe@example.com", "phone": 13812345678, "x": [1e5, "\"a\\n"]}'
    clean = r'{"to": "[EMAIL]", "phone": "[PHONE]", "x": [1e5, "\"a\\n"]}'
    tool = {
        "function": {"name": "mail", "description": "As li@example.com says", "max": 13812345678}
    }
    content = (Part(json.dumps([tool]), TOOLS),)
    call = Part('{"name": "mail", "arguments": ' + arguments + "}", CALL)
    messages = [Message("system", content), Message("assistant", (call,))]
    asked = ask(store, prompt=chat_prompt(messages), answer=called(arguments), kind="chat")
    assert asked.answer == called(clean).replace("jo.doe@example.com", "[EMAIL_2]").replace(
        '"[EMAIL]"', '"[EMAIL_2]"'
    )
    (offered,), (kept,) = (one.content[1:] for one in asked.messages)
    assert json.loads(offered.text)[0]["function"]["description"] == "As [EMAIL] says"
    assert json.loads(offered.text)[0]["function"]["max"] == 13812345678
    assert json.loads(kept.text)["arguments"] == json.loads(clean.replace("[EMAIL]", "[EMAIL_2]"))
    # Only a whole call goes by its values: what merely looks like one is text.
    said = store.record_feedback("acme", asked.id, "comment", "<tool_call> jo.doe@example.com")
    assert said.value == "<tool_call> [EMAIL]"


def test_a_pseudonym_is_stable_and_of_one_tenant(store: FeedbackStore) -> None:
    assert store.pseudonym("acme", "jo") == store.pseudonym("acme", "jo")
    assert store.pseudonym("acme", "jo") != store.pseudonym("other", "jo")
    assert store.pseudonym("acme", "") == ""


def test_the_same_key_with_the_same_content_is_stored_once(store: FeedbackStore) -> None:
    first = ask(store, 1, key="k1")
    assert ask(store, 2, key="k1", answer="another sampled answer") == first
    said = store.record_feedback("acme", first.id, "comment", "hm", idempotency_key="f1")
    again = store.record_feedback("acme", first.id, "comment", "hm", idempotency_key="f1")
    assert again == said
    assert (len(store.interactions("acme")), len(store.feedback("acme"))) == (1, 1)


def test_the_same_key_with_other_content_is_refused(store: FeedbackStore) -> None:
    first = ask(store, 1, key="k1")
    with pytest.raises(UsageError, match="used for something else"):
        ask(store, 2, key="k1", prompt="Another question")
    with pytest.raises(UsageError, match="used for something else"):
        ask(store, 1, prompt="The same id, another question")
    store.record_feedback("acme", first.id, "comment", "hm", idempotency_key="f1")
    with pytest.raises(UsageError, match="used for something else"):
        store.record_feedback("acme", first.id, "comment", "ha", idempotency_key="f1")
    assert (len(store.interactions("acme")), len(store.feedback("acme"))) == (1, 1)


def test_a_key_belongs_to_its_tenant(store: FeedbackStore) -> None:
    ask(store, 1, key="k1")
    ask(store, 1, tenant="other", key="k1", prompt="Something else")
    assert len(store.interactions("acme")) == len(store.interactions("other")) == 1


def test_an_answer_is_found_again_by_its_key(store: FeedbackStore) -> None:
    def answered(tenant: str, prompt: str) -> Interaction | None:
        return store.answered(
            tenant=tenant,
            model_name="helpdesk",
            kind="completion",
            prompt=prompt,
            idempotency_key="k1",
        )

    assert answered("acme", "Mail a@b.com") is None
    first = ask(store, key="k1", prompt="Mail a@b.com")
    assert answered("acme", "Mail a@b.com") == first
    assert answered("other", "Mail a@b.com") is None
    with pytest.raises(UsageError, match="used for something else"):
        answered("acme", "Ring me")


def test_another_tenants_interaction_looks_like_none(store: FeedbackStore) -> None:
    asked = ask(store)
    messages = set()
    for tenant, interaction_id in [("other", asked.id), ("acme", "cmpl-999")]:
        with pytest.raises(UnknownName) as found:
            store.find(tenant, interaction_id)
        messages.add(str(found.value))
        with pytest.raises(UnknownName) as found:
            store.record_feedback(tenant, interaction_id, "thumb", "up")
        messages.add(str(found.value))
    assert len(messages) == 1
    assert store.feedback("other") == store.feedback("acme") == []
    assert store.interactions("other") == []


@pytest.mark.parametrize(
    ("kind", "value", "origin"),
    [
        ("thumb", "sideways", "person"),
        ("correction", "  ", "person"),
        ("label", "x" * 201, "person"),
        ("applause", "yes", "person"),
        ("thumb", "up", "robot"),
        ("comment", "half a character: \ud83d", "person"),
        ("preference", "an id with a \0", "person"),
    ],
)
def test_feedback_that_says_nothing_is_refused_without_repeating_it(
    store: FeedbackStore, kind: str, value: str, origin: str
) -> None:
    asked = ask(store)
    with pytest.raises(UsageError) as found:
        store.record_feedback("acme", asked.id, kind, value, origin=origin)
    assert "sideways" not in str(found.value) and "xxx" not in str(found.value)
    assert store.feedback("acme") == []


def test_a_chat_that_is_not_a_list_of_messages_is_refused(store: FeedbackStore) -> None:
    for prompt in ("hello", json.dumps({"role": "user"}), json.dumps([{"role": "user"}])):
        with pytest.raises(UsageError, match="list of messages"):
            ask(store, kind="chat", prompt=prompt)


def test_many_threads_lose_nothing_and_double_nothing(store: FeedbackStore) -> None:
    def write(worker: int) -> None:
        for number in range(10):
            asked = ask(store, worker * 100 + number, key=f"{worker}-{number}")
            for _ in range(2):
                store.record_feedback(
                    "acme", asked.id, "thumb", "up", idempotency_key=f"shared-{asked.id}"
                )

    threads = [threading.Thread(target=write, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.id for one in store.interactions("acme")}) == 50
    assert len({one.interaction_id for one in store.feedback("acme")}) == 50
    assert len(store.feedback("acme")) == 50


WRITER = """
for number in range(15):
    store.record_interaction(
        tenant="acme", interaction_id=f"{sys.argv[3]}-{number}", model_name="m",
        weight_hash="ab" * 32, kind="completion", prompt="p", answer="a",
    )
store.close()
"""


def test_many_processes_lose_nothing(store: FeedbackStore, place: Place) -> None:
    command = [sys.executable, "-c", OPENED + WRITER, *place.arguments]
    writers = [subprocess.Popen([*command, str(n)]) for n in range(3)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    assert len(store.interactions("acme")) == 45


def test_a_full_disk_is_a_storage_error_and_nothing_is_half_stored(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path / "feedback.sqlite")
    asked = ask(store)
    store.close()
    full = FeedbackStore(tmp_path / "feedback.sqlite")
    with full.database.write() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
    with pytest.raises(StorageError, match="no space left"):
        full.record_feedback("acme", asked.id, "comment", "long " * 20_000)
    assert full.feedback("acme") == []
    assert full.interactions("acme") == [asked]
    full.close()


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    FeedbackStore(tmp_path / "feedback.sqlite").close()
    file = sqlite3.connect(tmp_path / "feedback.sqlite")
    file.execute("PRAGMA user_version = 99")
    file.close()
    with pytest.raises(FormatError, match="format 99"):
        FeedbackStore(tmp_path / "feedback.sqlite")


def test_every_primary_key_begins_with_the_tenant() -> None:
    from noria.feedback.tables import tables

    for table in tables.sorted_tables:
        assert next(iter(table.primary_key.columns)).name == "tenant"


def test_a_clock_that_jumps_changes_no_order(
    store: FeedbackStore, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_760_000_000.0
    for number, jump_s in enumerate((0.0, 86_400.0, -86_400.0, 0.0)):
        monkeypatch.setattr(time, "time", lambda jump_s=jump_s: now + jump_s)
        asked = ask(store, number)
        store.record_feedback("acme", asked.id, "correction", f"no {number}")
    for opened in (store, place.open()):
        assert [one.id for one in opened.interactions("acme")] == [f"cmpl-{n}" for n in range(4)]
        assert [said.value for _, said in opened.corrections("acme")] == [
            f"no {n}" for n in range(4)
        ]
    assert [one.created_at - now for one in store.feedback("acme")] == [0, 86_400, -86_400, 0]


def test_one_refused_write_takes_no_other_with_it(store: FeedbackStore) -> None:
    asked = ask(store)
    together = threading.Barrier(12)
    outcomes: list[str] = []

    def say(number: int) -> None:
        together.wait()
        known = number % 3 > 0
        try:
            store.record_feedback("acme", asked.id if known else "gone", "comment", f"no {number}")
            outcomes.append("stored")
        except UnknownName:
            outcomes.append("refused")

    threads = [threading.Thread(target=say, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 4 + ["stored"] * 8
    assert len(store.feedback("acme")) == 8
