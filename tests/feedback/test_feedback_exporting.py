"""What a store exports another one imports: every row, in order, once; what is old goes."""

from __future__ import annotations

import json
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest
from places import Place

from noria.errors import InputError
from noria.feedback.custody import delete_older, erase_person
from noria.feedback.exporting import export_to, import_from
from noria.feedback.store import FeedbackStore

DAY_S = 86_400.0


def fill(store: FeedbackStore, num: int = 4, tenant: str = "acme", first_at: float = 0.0) -> None:
    for number in range(num):
        store.record_interaction(
            tenant=tenant,
            interaction_id=f"cmpl-{number}",
            model_name="m",
            weight_hash="ab" * 32,
            kind="completion",
            prompt=f"问题 {number}",
            answer="a",
            person=f"person {number % 2}",
            created_at=first_at + number * DAY_S,
        )
        store.record_feedback(
            tenant,
            f"cmpl-{number}",
            "correction",
            f"no {number}",
            person="li",
            key_id="k",
            created_at=first_at + number * DAY_S,
        )


def test_an_export_is_imported_whole_and_once(
    store: FeedbackStore, place: Place, tmp_path: Path
) -> None:
    fill(store, 300)
    file = tmp_path / "out.jsonl"
    assert export_to(store, "acme", file) == 600
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    other = FeedbackStore(tmp_path / "other" / "feedback.sqlite")
    for _ in range(2):
        assert import_from(other, "acme", file) == 600
        assert other.said("acme") == store.said("acme")
    assert import_from(other, "second", file) == 600
    assert other.interactions("second") == [
        replace(one, tenant="second") for one in store.interactions("acme")
    ]
    other.close()
    again = tmp_path / "again.jsonl"
    export_to(store, "acme", again)
    assert again.read_bytes() == file.read_bytes()


def test_an_import_is_cleaned_of_identities_and_names(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path / "feedback.sqlite")
    fill(store, 1)
    file = tmp_path / "out.jsonl"
    export_to(store, "acme", file)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[1]["interaction"] |= {"id": "new", "prompt": "Mail jo@example.com", "person": "Jo Doe"}
    lines[2]["feedback"] |= {"id": "fb-new", "value": "Call 13812345678"}
    file.write_text("\n".join(json.dumps(line) for line in lines))
    import_from(store, "acme", file)
    assert store.find("acme", "new").prompt == "Mail [EMAIL]"
    assert store.find("acme", "new").person == store.pseudonym("acme", "Jo Doe")
    assert store.feedback("acme")[-1].value == "Call [PHONE]"
    store.close()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("not JSON", ":2 is no interaction"),
        ("[]", ":2 is no interaction"),
        ('{"interaction": {"id": "x"}}', ":2 is no interaction"),
        ('{"feedback": {"id": 3}}', ":2 is no interaction"),
        ('{"wish": {}}', ":2 is no interaction"),
        (
            '{"feedback": {"id": "f", "interaction_id": "gone", "kind": "thumb", "value": "up",'
            ' "origin": "person", "created_at": 1.0}}',
            ":2: no such interaction",
        ),
        (
            '{"feedback": {"id": "f", "interaction_id": "gone", "kind": "cheer", "value": "up",'
            ' "origin": "person", "created_at": 1.0}}',
            "unknown kind",
        ),
    ],
)
def test_a_line_that_is_no_row_is_named(tmp_path: Path, line: str, said: str) -> None:
    store = FeedbackStore(tmp_path / "feedback.sqlite")
    file = tmp_path / "in.jsonl"
    file.write_text('{"noria_feedback": 1}\n' + line + "\n")
    with pytest.raises(InputError, match=said):
        import_from(store, "acme", file)
    file.write_text(line)
    with pytest.raises(InputError, match="no export"):
        import_from(store, "acme", file)
    assert store.interactions("acme") == store.feedback("acme") == []
    store.close()


def test_what_is_too_old_goes_and_the_rest_stays(store: FeedbackStore) -> None:
    now = time.time()
    fill(store, 4, first_at=now - 3.5 * DAY_S)
    fill(store, 4, tenant="other", first_at=now - 3.5 * DAY_S)
    store.record_feedback("acme", "cmpl-0", "comment", "new words of an old answer")
    assert delete_older(store, "acme", 2) == 2
    assert [one.id for one in store.interactions("acme")] == ["cmpl-2", "cmpl-3"]
    assert [said.value for said in store.feedback("acme")] == ["no 2", "no 3"]
    assert len(store.interactions("other")) == len(store.feedback("other")) == 4
    fill(store, 1, first_at=now)
    assert [one.id for one in store.interactions("acme")] == ["cmpl-2", "cmpl-3", "cmpl-0"]


def test_a_store_that_keeps_days_deletes_what_is_older_when_it_is_written_to(place: Place) -> None:
    everything = place.open()
    fill(everything, 4, first_at=time.time() - 3.5 * DAY_S)
    keeping = place.open(keep_days=2)
    assert len(keeping.interactions("acme")) == 4
    keeping.record_feedback("acme", "cmpl-3", "thumb", "up")
    assert [one.id for one in everything.interactions("acme")] == ["cmpl-2", "cmpl-3"]


def test_what_was_erased_is_in_no_export(store: FeedbackStore, tmp_path: Path) -> None:
    fill(store, 2)
    erase_person(store, "acme", "person 0")
    file = tmp_path / "out.jsonl"
    export_to(store, "acme", file)
    assert "问题 1" in file.read_text(encoding="utf-8")
    assert "问题 0" not in file.read_text(encoding="utf-8")
    other = FeedbackStore(tmp_path / "other.sqlite")
    import_from(other, "acme", file)
    assert len(other.said("acme")) == 1
    other.close()
