"""Where a feedback store lies: a SQLite file, or a schema of a PostgreSQL database.

In: a path or an address. Out: a database with the newest tables. This module reads no row.
"""

from __future__ import annotations

from pathlib import Path

from noria.database import Database
from noria.feedback.cipher import MasterKeys
from noria.feedback.migrations import POSTGRES_MIGRATIONS, migrations
from noria.feedback.tables import APPLICATION_ID, STORE_FORMAT, tables
from noria.postgres import PostgresDatabase


def open_database(where: Path | str, master: MasterKeys, name: str) -> Database | PostgresDatabase:
    """The tables in a SQLite file, or at an address of PostgreSQL; made if they are not there."""
    if isinstance(where, Path):
        return Database(
            where,
            tables,
            kind="a feedback store",
            application_id=APPLICATION_ID,
            version=STORE_FORMAT,
            migrations=migrations(master),
        )
    return PostgresDatabase(
        where,
        tables,
        kind="a feedback store",
        application_id=APPLICATION_ID,
        version=STORE_FORMAT,
        migrations=POSTGRES_MIGRATIONS,
        schema=name,
    )
