"""SQLite files that many threads and processes write at once, and lose nothing by it.

In: a path, the tables, a format number. Out: transactions that are on disk when they end.
Every write begins with BEGIN IMMEDIATE: it waits for its turn at the start, so that what it read
is still true when it writes. WAL lets readers go on meanwhile; synchronous=FULL makes a commit
wait for the disk. This module does not know what any table means.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, MetaData, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from noria.errors import FormatError, IntegrityError, NoriaError, StorageError

BUSY_TIMEOUT_S = 30.0
Migrations = Mapping[int, Callable[[Connection], None]]  # from a format to the next one
_WRITES = "noria_writes"

# https://www.sqlite.org/rescode.html; the low byte of an extended code is its primary code.
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_STORAGE = {
    sqlite3.SQLITE_FULL: "there is no space left",
    sqlite3.SQLITE_IOERR: "the disk reported an error",
    sqlite3.SQLITE_READONLY: "it may not be written",
    sqlite3.SQLITE_CANTOPEN: "it can't be opened",
    sqlite3.SQLITE_PERM: "it may not be opened",
    sqlite3.SQLITE_AUTH: "it may not be opened",
    sqlite3.SQLITE_BUSY: f"another process has held it for {BUSY_TIMEOUT_S:.0f} s",
    sqlite3.SQLITE_LOCKED: f"another process has held it for {BUSY_TIMEOUT_S:.0f} s",
    sqlite3.SQLITE_TOOBIG: "a value is larger than SQLite stores",
}


def _as_noria_error(path: Path, error: BaseException) -> NoriaError | None:
    """What an error of SQLite means to the user; None if it is a mistake of ours."""
    if isinstance(error, DBAPIError):
        error = error.orig or error
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _CORRUPT or "no such table" in str(error) or "no such column" in str(error):
        return IntegrityError(
            f"{path} is damaged ({error})", "a sound SQLite file", "restore it from a backup"
        )
    if code in _STORAGE:
        return StorageError(
            f"{path}: {_STORAGE[code]} ({error})",
            "a disk with space and the right to write",
            "free some space or check the rights, then try again; what was stored is intact",
        )
    return None


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, DBAPIError) as error:
        explained = _as_noria_error(path, error)
        if explained is None:
            raise
        raise explained from error


def _create_file(path: Path) -> None:
    """Make an empty file that only its owner may read, unless it is there; durable."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        os.close(descriptor)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StorageError(
            f"{path} can't be made or opened ({error.strerror})",
            "a folder that may be written",
            "choose another folder or change its rights",
        ) from error


def _set_pragmas(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's BEGIN below is the only one
    cursor = connection.cursor()
    # What is deleted or overwritten is zeroed: no text and no key stays in a free page.
    for pragma in (
        "synchronous = FULL",
        "foreign_keys = ON",
        "trusted_schema = OFF",
        "secure_delete = ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _use_wal(path: Path) -> None:
    """Switch the file to WAL; the change needs the file alone, so it is tried for a while.

    SQLite does not call its busy handler for this switch (https://www.sqlite.org/wal.html).
    """
    give_up_at = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not busy or time.monotonic() > give_up_at:
                raise
        finally:
            connection.close()
        time.sleep(0.02)


class Database:
    """One SQLite file with these tables, made if it is not there.

    `kind` names what the file holds and `application_id` is its mark inside the file
    (https://www.sqlite.org/pragma.html#pragma_application_id); `version` is the format of its
    tables. An older file is brought to it by `migrations`, step by step, all of them in one
    transaction: a kill leaves the old format whole. Raises FormatError for a file of another kind
    or a newer format, IntegrityError for a damaged one, StorageError where the disk says no.
    """

    def __init__(
        self,
        path: Path,
        tables: MetaData,
        *,
        kind: str,
        application_id: int,
        version: int,
        migrations: Migrations | None = None,
    ) -> None:
        self.path = path
        self.kind = kind
        self._migrations = migrations or {}
        _create_file(path)
        url = URL.create("sqlite+pysqlite", database=str(path))
        self._engine = create_engine(
            url,
            connect_args={"timeout": BUSY_TIMEOUT_S},
            pool_size=4,
            max_overflow=-1,  # a thread that waits holds a connection, never the pool
            hide_parameters=True,  # what is stored stands in no error and no log
        )
        event.listen(self._engine, "connect", _set_pragmas)
        event.listen(self._engine, "begin", _begin)
        try:
            with _explained(path):
                _use_wal(path)
            with self.write() as connection:
                migrated = self._check_or_create(connection, tables, application_id, version)
            if migrated:
                self.forget_deleted()
        except BaseException:
            self.close()
            raise

    def _check_or_create(
        self, connection: Connection, tables: MetaData, application_id: int, version: int
    ) -> bool:
        """Whether an older format was migrated."""

        def number(query: str) -> int:
            return int(connection.exec_driver_sql(query).scalar_one())

        found_id, found = number("PRAGMA application_id"), number("PRAGMA user_version")
        if (found_id, found) == (application_id, version):
            return False
        if found_id == application_id and found in self._migrations:
            for step in range(found, version):
                self._migrations[step](connection)
            connection.exec_driver_sql(f"PRAGMA user_version = {version}")
            return True
        if found_id or found or number("SELECT count(*) FROM sqlite_master"):
            what = f"format {found}" if found_id == application_id else "a file of another kind"
            raise FormatError(
                f"{self.path} is {what}",
                f"{self.kind} of format {version}",
                "upgrade Noria if the file is newer, or name another file",
            )
        tables.create_all(connection)
        connection.exec_driver_sql(f"PRAGMA application_id = {application_id}")
        connection.exec_driver_sql(f"PRAGMA user_version = {version}")
        return False

    @contextmanager
    def write(self, tenant: str = "") -> Iterator[Connection]:
        """One transaction that writes: alone from its first statement, on disk when it ends.

        A file has no policies: `tenant` is for databases that do, and no condition of a query.
        Raises StorageError or IntegrityError; then nothing of it is stored.
        """
        with _explained(self.path), self._engine.connect() as connection:
            connection = connection.execution_options(**{_WRITES: True})
            with connection.begin():
                yield connection

    @contextmanager
    def read(self, tenant: str = "") -> Iterator[Connection]:
        """One transaction that reads: all of it sees the file at one moment."""
        with _explained(self.path), self._engine.connect() as connection, connection.begin():
            yield connection

    def tenants(self, table: str) -> list[str]:
        """Every tenant in a table."""
        with self.read() as connection:
            rows = connection.exec_driver_sql(f"SELECT DISTINCT tenant FROM {table} ORDER BY 1")
            return list(rows.scalars())

    def forget_deleted(self) -> None:
        """Leave nothing of what was deleted or overwritten in the write-ahead log either."""
        with _explained(self.path), self._engine.connect() as connection:
            outside = connection.execution_options(isolation_level="AUTOCOMMIT")
            outside.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close every connection; the object may not be used after."""
        self._engine.dispose()
