"""A consistent copy of what people and decisions left in a workspace, while servers run.

In: a workspace. Out: a folder with copies of feedback, reviews, registry and keys, whole or not
there, and what a check of it found. The master key stays out: who has the copy alone reads no text.
Feedback is copied first: the versions that it speaks of are in a registry copied later.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

from noria.artifacts import atomic_folder, file_digest, value_digest
from noria.errors import InputError, IntegrityError, StorageError
from noria.feedback.cipher import MasterKeys
from noria.feedback.reviews import ReviewStore
from noria.feedback.store import FeedbackStore
from noria.registry import Registry
from noria.serve.auth import KeyStore
from noria.workspace import Workspace

BACKUP_FORMAT = 1
FILES = ("feedback.sqlite", "reviews.sqlite", "registry.sqlite", "keys.sqlite")
MANIFEST = "backup.json"
ELSEWHERE = "in PostgreSQL, which pg_dump copies"


def make_backup(workspace: Workspace, folder: Path) -> Path:
    """Copy a workspace's databases into a new folder of `folder`; returns it.

    Where nothing has changed since the newest one, that is returned. Raises StorageError.
    """
    names = [name for name in FILES if (workspace.root / name).exists()]
    if workspace.feedback.path is None:  # a file from before is not what there is now
        names = [name for name in names if name != "feedback.sqlite"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=folder) as made:
            for name in names:
                _copy(workspace.root / name, Path(made) / name)
            digests = {name: file_digest(Path(made) / name) for name in names}
            there = _newest(folder)
            if there is not None and _manifest(there)["files"] == digests:
                return there
            now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            path = folder / f"backup-{now}-{value_digest(digests)[:8]}"
            with atomic_folder(path) as whole:
                whole.chmod(0o700)
                for name in names:
                    shutil.move(Path(made) / name, whole / name)
                text = json.dumps({"backup_format": BACKUP_FORMAT, "files": digests}, indent=1)
                (whole / MANIFEST).write_text(text + "\n", encoding="utf-8")
            return path
    except (OSError, sqlite3.Error) as error:
        raise StorageError(
            f"{folder} could not take the backup ({error})", "a folder with space", "try again"
        ) from error


def _copy(source: Path, target: Path) -> None:
    """One moment of a database that others write, as a file that needs no other beside it."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as two:
        one.backup(two)
        two.execute("PRAGMA journal_mode = DELETE")


def _newest(folder: Path) -> Path | None:
    found = sorted(path.parent for path in folder.glob(f"backup-*/{MANIFEST}"))
    return found[-1] if found else None


def newest_backup(folder: Path) -> Path:
    """The newest backup of a folder. Raises InputError."""
    found = _newest(folder)
    if found is None:
        raise InputError(f"no backup in {folder}", "one that `noria backup` made")
    return found


def _manifest(path: Path) -> dict[str, dict[str, str]]:
    try:
        value = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        if value["backup_format"] != BACKUP_FORMAT:
            raise InputError(f"{path} has another format", f"a backup of format {BACKUP_FORMAT}")
        return {"files": {str(name): str(digest) for name, digest in value["files"].items()}}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path / MANIFEST} can't be read ({error})", "a whole backup") from error


def check_backup(path: Path, master: MasterKeys) -> dict[str, int | str]:
    """Open a copy of the copy and read everything in it; returns what was counted.

    Raises IntegrityError for bytes that changed and texts that the master key does not open.
    """
    for name, digest in _manifest(path)["files"].items():
        if not (path / name).is_file() or file_digest(path / name) != digest:
            raise IntegrityError(f"{path / name} is not what was copied", "its digest's bytes")
    with tempfile.TemporaryDirectory(prefix="noria-check-") as opened:
        for name in FILES:
            if (path / name).exists():
                shutil.copy(path / name, Path(opened) / name)
        return _counts(Path(opened), master)


def _counts(folder: Path, master: MasterKeys) -> dict[str, int | str]:
    counts: dict[str, int | str] = {"interactions": ELSEWHERE, "feedback": ELSEWHERE}
    if (folder / "feedback.sqlite").exists():
        with closing(FeedbackStore(folder / "feedback.sqlite", master=master)) as store:
            tenants = store.database.tenants("interactions")
            counts["interactions"] = sum(len(store.interactions(one)) for one in tenants)
            counts["feedback"] = sum(len(store.feedback(one)) for one in tenants)
    with closing(Registry(folder / "registry.sqlite")) as registry:
        registry.verify_chain()
    with closing(ReviewStore(folder / "reviews.sqlite")), closing(KeyStore(folder / "keys.sqlite")):
        return counts  # both are of a format that is known, and whole
