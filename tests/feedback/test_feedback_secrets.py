"""Nothing that was planted in texts, names and keys lies readable anywhere on the disk."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import pytest
from places import Place
from postgres_server import Server

from noria.errors import UsageError
from noria.feedback.store import FeedbackStore

PLANTED = (
    "the merger with Zephyrine",  # no identity: only encryption keeps it
    "我们的秘密配方是杏仁",
    "jo.doe@example.com",
    "4111 1111 1111 1111",
    "Jo Doe of Leeds",
    "order of Jo Doe",
    "sk-live-4f9a8b7c6d5e",
)
CONTROL = "a-model-name-in-plain"


def plant(store: FeedbackStore) -> None:
    for number, secret in enumerate(PLANTED):
        store.record_interaction(
            tenant="acme",
            interaction_id=f"cmpl-{number}",
            model_name=CONTROL,
            weight_hash="ab" * 32,
            kind="completion",
            prompt=f"I heard of {secret}.",
            answer=f"So did I: {secret}!",
            person=secret,
            idempotency_key="" if not secret.isascii() else secret,
        )
        store.record_feedback("acme", f"cmpl-{number}", "correction", secret, person=secret)
        with pytest.raises(UsageError):
            store.record_feedback("acme", f"cmpl-{number}", "thumb", secret, person=secret)


def readable(files: Iterable[Path]) -> set[str]:
    """What of it stands in the bytes of these files."""
    wanted = {text.encode(coding): text for text in (*PLANTED, CONTROL) for coding in CODINGS}
    raw = [path.read_bytes() for path in files if path.is_file()]
    return {text for code, text in wanted.items() if any(code in one for one in raw)}


CODINGS = ("utf-8", "utf-16-le")


def test_no_secret_lies_readable_in_any_file(
    place: Place, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    log = logging.FileHandler(tmp_path / "everything.log")
    root = logging.getLogger()
    level = root.level
    root.addHandler(log)
    root.setLevel(logging.DEBUG)
    try:
        store = place.open()
        plant(store)
        assert len(store.said("acme")) == len(PLANTED)
        folders = [tmp_path]
        if not isinstance(place.where, Path):
            server: Server = request.getfixturevalue("server")
            server.execute("postgres", "CHECKPOINT")
            folders.append(server.folder)
        files = [path for folder in folders for path in folder.rglob("*")]
        assert readable(files) == {CONTROL}  # while it is open, write-ahead log and all
        store.close()
        assert readable(path for folder in folders for path in folder.rglob("*")) == {CONTROL}
    finally:
        root.removeHandler(log)
        root.setLevel(level)
        log.close()


def test_a_migrated_store_has_nothing_of_the_old_texts_left(tmp_path: Path) -> None:
    stored = Path(__file__).parent / "stored" / "schema1.sqlite"
    old = tmp_path / "feedback.sqlite"
    old.write_bytes(stored.read_bytes())
    words = [b"Where is parcel", "我的包裹".encode(), b"It arrived", b"complaint", b"On its way"]
    assert all(word in old.read_bytes() for word in words)
    store = FeedbackStore(old)
    raw = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not [word for word in words if word in raw]
    assert len(store.said("acme")) == 4
    store.close()
