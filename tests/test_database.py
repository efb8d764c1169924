"""A SQLite file: what it refuses, what it says, and that nobody's write is lost."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text, insert, select

from noria.database import Database
from noria.errors import FormatError, IntegrityError, StorageError

TABLES = MetaData()
COUNTS = Table("counts", TABLES, Column("name", Text, primary_key=True), Column("count", Integer))
Opener = Callable[..., Database]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opener]:
    databases: list[Database] = []

    def open_it(version: int = 1, application_id: int = 77, file: str = "a.sqlite") -> Database:
        database = Database(
            tmp_path / file,
            TABLES,
            kind="a test file",
            application_id=application_id,
            version=version,
        )
        databases.append(database)
        return database

    yield open_it
    for database in databases:
        database.close()


def test_what_was_written_is_there_after_reopening(opened: Opener) -> None:
    database = opened()
    with database.write() as connection:
        connection.execute(insert(COUNTS), {"name": "a", "count": 3})
    database.close()
    with opened().read() as connection:
        assert connection.execute(select(COUNTS.c.count)).scalar_one() == 3


def test_a_transaction_that_fails_leaves_nothing(opened: Opener) -> None:
    database = opened()
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        connection.execute(insert(COUNTS), {"name": "a", "count": 1 // 1})
        raise ZeroDivisionError
    with database.read() as connection:
        assert connection.execute(select(COUNTS)).all() == []


def test_no_increment_of_many_threads_is_lost(opened: Opener) -> None:
    database = opened()
    with database.write() as connection:
        connection.execute(insert(COUNTS), {"name": "a", "count": 0})

    def count() -> None:
        for _ in range(20):
            with database.write() as connection:
                value = connection.execute(select(COUNTS.c.count)).scalar_one()
                connection.execute(COUNTS.update().values(count=value + 1))

    threads = [threading.Thread(target=count) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert connection.execute(select(COUNTS.c.count)).scalar_one() == 120


def test_many_threads_may_open_a_new_file_at_once(opened: Opener) -> None:
    errors: list[Exception] = []

    def open_one() -> None:
        try:
            opened()
        except Exception as error:  # told to the test below
            errors.append(error)

    threads = [threading.Thread(target=open_one) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_commits_wait_for_the_disk(opened: Opener) -> None:
    with opened().read() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"


def test_the_file_is_for_its_owner_only(opened: Opener, tmp_path: Path) -> None:
    opened()
    assert stat.S_IMODE((tmp_path / "a.sqlite").stat().st_mode) & 0o077 == 0


def test_a_full_disk_is_a_storage_error_and_the_file_stays_whole(opened: Opener) -> None:
    database = opened()
    with database.write() as connection:
        connection.execute(insert(COUNTS), {"name": "kept", "count": 1})
    with (
        pytest.raises(StorageError, match=r"no space left.*database or disk is full"),
        database.write() as connection,
    ):
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        connection.execute(insert(COUNTS), {"name": "x" * 100_000, "count": 2})
    database.close()
    with opened().read() as connection:
        assert connection.execute(select(COUNTS.c.name)).scalars().all() == ["kept"]


@pytest.mark.parametrize("damage", ["header", "page", "cut"])
def test_a_damaged_file_is_an_integrity_error(opened: Opener, tmp_path: Path, damage: str) -> None:
    database = opened()
    with database.write() as connection:
        rows = [{"name": f"{n:0200d}", "count": n} for n in range(200)]
        connection.execute(insert(COUNTS), rows)
    database.close()
    path = tmp_path / "a.sqlite"
    raw = bytearray(path.read_bytes())
    if damage == "header":
        raw[:100] = b"not a database at all, but text. " * 3 + b"x"
    elif damage == "page":
        raw[4096:] = b"\xff" * (len(raw) - 4096)
    else:
        del raw[len(raw) // 2 :]
    path.write_bytes(raw)
    with pytest.raises(IntegrityError, match="damaged"), opened().read() as connection:
        connection.execute(select(COUNTS)).all()


def test_a_newer_format_is_refused(opened: Opener) -> None:
    opened(version=2)
    with pytest.raises(FormatError, match="format 2"):
        opened(version=1)


def test_a_file_of_another_kind_is_refused(opened: Opener, tmp_path: Path) -> None:
    opened(application_id=78)
    with pytest.raises(FormatError, match="another kind"):
        opened()
    foreign = sqlite3.connect(tmp_path / "foreign.sqlite")
    foreign.execute("CREATE TABLE somebody (elses TEXT)")
    foreign.close()
    with pytest.raises(FormatError, match="another kind"):
        opened(file="foreign.sqlite")


def test_a_folder_that_is_a_file_is_a_storage_error(opened: Opener, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(StorageError):
        opened(file="file/a.sqlite")


def test_a_folder_in_the_place_of_the_file_is_a_storage_error(
    opened: Opener, tmp_path: Path
) -> None:
    (tmp_path / "a.sqlite").mkdir()
    with pytest.raises(StorageError):
        opened()
