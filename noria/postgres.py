"""A PostgreSQL database in which every transaction sees one tenant's rows, and no others.

In: a URL, the tables, a format number. Out: transactions that are on disk when they end.
Row-level security does what a forgotten condition would not: each table's policy compares its
column `tenant` with a setting of the transaction, and binds the tables' owner too (FORCE). A role
that such policies do not bind is refused. Writers wait for each other at the start, as they do at
a SQLite file, so that what a transaction read is still true when it writes.
This module does not know what any table means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import Connection, MetaData, create_engine, inspect, text
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from noria.errors import (
    FormatError,
    IntegrityError,
    MissingExtra,
    NoriaError,
    StorageError,
    UsageError,
)

DRIVER = "postgresql+psycopg"
TENANT_SETTING = "noria.tenant"
LOCK_TIMEOUT_S = 30
_READ_SETTINGS = text(f"SELECT set_config('{TENANT_SETTING}', :tenant, true)")
_WRITE_SETTINGS = text(
    f"SELECT set_config('{TENANT_SETTING}', :tenant, true),"
    f" set_config('lock_timeout', '{LOCK_TIMEOUT_S}s', true),"
    " set_config('synchronous_commit', 'on', true)"
)

_FORMATS = """
CREATE TABLE IF NOT EXISTS noria_formats (kind integer PRIMARY KEY, format integer NOT NULL)
"""
_POLICY = """
CREATE POLICY one_tenant ON {table}
USING (tenant = current_setting('{setting}', true))
WITH CHECK (tenant = current_setting('{setting}', true))
"""
_BOUND = """
SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user
"""


def _as_noria_error(name: str, error: DBAPIError) -> NoriaError | None:
    """What an error of PostgreSQL means to the user; None if it is a mistake of ours.

    Classes of https://www.postgresql.org/docs/current/errcodes-appendix.html.
    """
    state = getattr(error.orig, "sqlstate", None) or ""
    said = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else "no answer"
    if state.startswith("XX"):
        return IntegrityError(
            f"{name} is damaged ({said})", "a sound database", "restore it from a backup"
        )
    if not state or state == "42501" or state[:2] in ("08", "53", "55", "57", "58", "28", "3D"):
        return StorageError(
            f"{name} did not do it ({said})",
            "a PostgreSQL that runs, has space and lets this role in",
            "check it, then try again; what was stored is intact",
        )
    return None


def _engine_of(url: str, schema: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.drivername not in (DRIVER, "postgresql"):
            raise ArgumentError(parsed.drivername)
        return create_engine(
            parsed.set(drivername=DRIVER),
            connect_args={"options": f'-c search_path="{schema}"'},
            pool_size=4,
            max_overflow=-1,
            hide_parameters=True,  # what is stored stands in no error and no log
        )
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise UsageError(
            "a database that is no address of PostgreSQL", f"{DRIVER}://role@host/database"
        ) from error
    except ImportError as error:
        raise MissingExtra("psycopg", "postgres") from error


class PostgresDatabase:
    """These tables in a schema of a PostgreSQL database, made if they are not there.

    `kind` names what they hold, `application_id` is its mark among other tables of the schema;
    `version` is their format, to which older tables are brought by `migrations`, step by step, in
    the transaction that opens them. Raises FormatError for another format, UsageError for a role
    that row-level security does not bind, StorageError where the server says no.
    """

    def __init__(
        self,
        url: str,
        tables: MetaData,
        *,
        kind: str,
        application_id: int,
        version: int,
        migrations: Mapping[int, Callable[[Connection], None]] | None = None,
        schema: str,
    ) -> None:
        self.kind = kind
        self._tables = tables
        self._application_id = application_id
        self._migrations = migrations or {}
        self._engine = _engine_of(url, schema)
        self.name = self._engine.url.render_as_string(hide_password=True)
        try:
            with self._explained(), self._engine.connect() as connection, connection.begin():
                self._lock(connection)
                connection.exec_driver_sql(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
                self._check_or_create(connection, version)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            explained = _as_noria_error(self.name, error)
            if explained is None:
                raise
            raise explained from error

    def _lock(self, connection: Connection, tenant: str = "") -> None:
        """Begin a transaction that writes: its settings, then the wait for its turn."""
        connection.execute(_WRITE_SETTINGS, {"tenant": tenant})
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({self._application_id})")

    def _check_or_create(self, connection: Connection, version: int) -> None:
        if connection.exec_driver_sql(_BOUND).scalar_one():
            raise UsageError(
                f"a role that row-level security does not bind, at {self.name}",
                "a role of its own for Noria, neither SUPERUSER nor BYPASSRLS",
                "CREATE ROLE noria LOGIN PASSWORD '…'; CREATE DATABASE noria OWNER noria",
            )
        if connection.exec_driver_sql("SHOW fsync").scalar_one() != "on":
            raise UsageError(
                f"fsync is off at {self.name}", "fsync = on: acknowledged means on disk"
            )
        connection.exec_driver_sql(_FORMATS)
        query = text("SELECT format FROM noria_formats WHERE kind = :kind")
        found = connection.execute(query, {"kind": self._application_id}).scalar()
        if found == version:
            return
        if found is not None and found in self._migrations:
            for step in range(found, version):
                self._migrations[step](connection)
            newer = text("UPDATE noria_formats SET format = :format WHERE kind = :kind")
            connection.execute(newer, {"kind": self._application_id, "format": version})
            return
        there = set(inspect(connection).get_table_names()) & set(self._tables.tables)
        if found is not None or there:
            what = "tables of somebody else" if found is None else f"{self.kind} of format {found}"
            raise FormatError(
                f"{self.name} has {what}",
                f"{self.kind} of format {version}, or a database of its own",
                "upgrade Noria if the tables are newer, or name another database",
            )
        self._create(connection, version)

    def _create(self, connection: Connection, version: int) -> None:
        self._tables.create_all(connection)
        for table in self._tables.tables:
            connection.exec_driver_sql(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            connection.exec_driver_sql(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
            connection.exec_driver_sql(_POLICY.format(table=table, setting=TENANT_SETTING))
        query = text("INSERT INTO noria_formats VALUES (:kind, :format)")
        connection.execute(query, {"kind": self._application_id, "format": version})

    @contextmanager
    def write(self, tenant: str = "") -> Iterator[Connection]:
        """One transaction that writes rows of one tenant: alone from its first statement.

        On disk when it ends. Raises StorageError or IntegrityError; then nothing is stored.
        """
        with self._explained(), self._engine.connect() as connection, connection.begin():
            self._lock(connection, tenant)
            yield connection

    @contextmanager
    def read(self, tenant: str = "") -> Iterator[Connection]:
        """One transaction that reads rows of one tenant: all of it sees one moment."""
        with self._explained(), self._engine.connect() as connection:
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                connection.execute(_READ_SETTINGS, {"tenant": tenant})
                yield connection

    def tenants(self, table: str) -> list[str]:
        """Every tenant in a table: the owner looks once, past the policy, which is back after."""
        with self._explained(), self._engine.connect() as connection, connection.begin():
            self._lock(connection)
            connection.exec_driver_sql(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
            rows = connection.exec_driver_sql(f"SELECT DISTINCT tenant FROM {table} ORDER BY 1")
            found = list(rows.scalars())
            connection.exec_driver_sql(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
            return found

    def forget_deleted(self) -> None:
        """Take what was deleted or overwritten out of the tables' files (VACUUM)."""
        with self._explained(), self._engine.connect() as connection:
            outside = connection.execution_options(isolation_level="AUTOCOMMIT")
            for table in self._tables.tables:
                outside.exec_driver_sql(f"VACUUM {table}")

    def close(self) -> None:
        """Close every connection; the object may not be used after."""
        self._engine.dispose()
