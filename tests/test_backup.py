"""A backup is made while writers write, is whole, tells no text, and can be checked."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from noria.artifacts import file_digest
from noria.backup import FILES, check_backup, make_backup, newest_backup
from noria.cli.screen import Silent
from noria.errors import InputError, IntegrityError
from noria.feedback.cipher import MasterKeys, new_key
from noria.workspace import Workspace, open_workspace

SECRET = "the merger with Zephyrine"


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    recipe = tmp_path / "noria.toml"
    recipe.write_text('name = "desk"\n[corpus]\ndocuments = ["*.txt"]\nnames = "off"\n')
    with open_workspace(recipe, None, Silent()) as opened:
        ask(opened, 0)
        yield opened


def ask(workspace: Workspace, number: int) -> None:
    workspace.feedback.record_interaction(
        tenant="default",
        interaction_id=f"cmpl-{number}",
        model_name="desk",
        weight_hash="ab" * 32,
        kind="completion",
        prompt=f"{SECRET} {number}",
        answer="a",
        person="Jo Doe",
    )
    workspace.feedback.record_feedback("default", f"cmpl-{number}", "correction", SECRET)


def test_a_backup_while_writers_write_is_one_moment(workspace: Workspace, tmp_path: Path) -> None:
    stop = threading.Event()
    written = [0]

    def write() -> None:
        while not stop.is_set():
            written[0] += 1
            ask(workspace, written[0])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(4):
            before = written[0]
            made = make_backup(workspace, tmp_path / "backups")
            counts = check_backup(made, workspace.feedback.keyring.master)
            assert isinstance(counts["interactions"], int) and counts["interactions"] >= before
            assert counts["feedback"] in (counts["interactions"], counts["interactions"] - 1)
    finally:
        stop.set()
        writer.join()


def test_a_backup_without_changes_is_the_one_there(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    made = make_backup(workspace, folder)
    assert make_backup(workspace, folder) == made == newest_backup(folder)
    assert list(folder.iterdir()) == [made]
    ask(workspace, 1)
    assert make_backup(workspace, folder) != made
    assert len(list(folder.iterdir())) == 2


def test_every_database_of_a_workspace_is_in_its_backup(
    workspace: Workspace, tmp_path: Path
) -> None:
    made = make_backup(workspace, tmp_path / "backups")
    assert {path.name for path in made.glob("*.sqlite")} == {
        path.name for path in workspace.root.glob("*.sqlite")
    }


def test_a_backup_tells_no_text_and_has_no_master_key(workspace: Workspace, tmp_path: Path) -> None:
    made = make_backup(workspace, tmp_path / "backups")
    key = workspace.feedback.keyring.master.keys[0]
    raw = b"".join(path.read_bytes() for path in made.iterdir())
    for planted in (SECRET.encode(), b"Jo Doe", key, key.hex().encode()):
        assert planted not in raw
    assert b"cmpl-0" in raw
    assert {path.stat().st_mode & 0o077 for path in made.glob("*.sqlite")} == {0}
    with pytest.raises(IntegrityError, match="which is not here"):
        check_backup(made, MasterKeys((new_key(),)))


def test_a_restored_backup_is_the_store_that_was(workspace: Workspace, tmp_path: Path) -> None:
    ask(workspace, 1)
    said = workspace.feedback.said("default")
    made = make_backup(workspace, tmp_path / "backups")
    root, recipe = workspace.root, workspace.recipe_path
    workspace.close()
    for name in FILES:
        for path in root.glob(f"{name}*"):
            path.unlink()
        shutil.copy(made / name, root / name)
    with open_workspace(recipe, None, Silent()) as restored:
        assert restored.feedback.said("default") == said


@pytest.mark.parametrize("name", ["feedback.sqlite", "registry.sqlite", "backup.json"])
def test_a_damaged_backup_is_refused(workspace: Workspace, tmp_path: Path, name: str) -> None:
    made = make_backup(workspace, tmp_path / "backups")
    raw = bytearray((made / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (made / name).write_bytes(raw)
    with pytest.raises((IntegrityError, InputError)):
        check_backup(made, workspace.feedback.keyring.master)
    with pytest.raises(InputError, match="no backup"):
        newest_backup(tmp_path / "nothing")


def test_rows_that_were_changed_in_a_backup_are_found(workspace: Workspace, tmp_path: Path) -> None:
    made = make_backup(workspace, tmp_path / "backups")
    file = sqlite3.connect(made / "feedback.sqlite")
    file.execute("UPDATE interactions SET prompt = answer")
    file.commit()
    file.close()
    manifest = json.loads((made / "backup.json").read_text())
    manifest["files"]["feedback.sqlite"] = file_digest(made / "feedback.sqlite")
    (made / "backup.json").write_text(json.dumps(manifest))
    with pytest.raises(IntegrityError, match="can't be decrypted"):
        check_backup(made, workspace.feedback.keyring.master)
